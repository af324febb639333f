"""`python -m ml`: train and judge models without Airflow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from quantstream.errors import Misconfigured, QuantStreamError
from quantstream.logs import set_up_logs
from quantstream.settings import load_settings

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def train(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="forecast, signal, risk, anomaly; all when none is named")
    ] = None,
) -> None:
    """Train models on the lake's candles, register them, and promote those that earned it; one JSON line each."""
    from ml import train as training

    for kind in kinds or training.MODELS:
        training.check_kind(kind)
    for kind in kinds or training.MODELS:
        result = training.train(kind, load_settings())
        typer.echo(json.dumps(result.__dict__))


@app.command()
def evaluate(
    train: Annotated[Path, typer.Option(help="folder of SYMBOL_5m.parquet to fit on")],
    test: Annotated[Path, typer.Option(help="folder of SYMBOL_5m.parquet to judge on, after the end of the first")],
    models: Annotated[str, typer.Option(help="which models, with commas")] = "risk,signal,forecast",
    json_only: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Fit on one folder of candles and judge on another, beside the baselines; needs no lake, no network, no registry."""
    from ml import trial

    result = trial.run(train, test, [name.strip() for name in models.split(",") if name.strip()])
    typer.echo(json.dumps(result, indent=1) if json_only else trial.table(result))


@app.command()
def champions() -> None:
    """Print which version serves and why, as JSON."""
    from ml.registry import KINDS, Registry, registered_name

    registry = Registry(load_settings().mlflow_url)
    cards = {name: registry.card(name) for name in map(registered_name, KINDS)}
    typer.echo(json.dumps({name: card.__dict__ if card else None for name, card in cards.items()}, indent=1))


def main() -> int:
    """Run the command line; errors in the user's hands are one sentence."""
    set_up_logs("ml", "text" if sys.stderr.isatty() else "json")
    try:
        app(standalone_mode=False)
    except QuantStreamError as error:
        typer.echo(str(error), err=True)
        return 2 if isinstance(error, Misconfigured) else 1
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        return 130
    except Exception as error:  # usage errors of typer's own parser are the only ones expected here
        if not hasattr(error, "format_message"):
            raise
        typer.echo(error.format_message(), err=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
