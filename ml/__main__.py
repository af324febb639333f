"""`python -m ml`: train and judge models without Airflow."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml.backtest import cli as backtest
from ml.promotion import cli as promotion
from quantstream.core.errors import Misconfigured, QuantStreamError
from quantstream.messages.models import MODEL_KINDS
from quantstream.observability.logs import set_up_logs
from quantstream.process_end import end_with
from quantstream.settings_loader import load_settings

if TYPE_CHECKING:
    import pandas as pd

    from ml.evaluation.leakage_checks import Verdict
    from ml.training.train import Options
    from quantstream.lake.store import Lake

Candles = Annotated[Path | None, typer.Option(help="folder of SYMBOL_5m.parquet; without it a made-up market")]
features = typer.Typer(no_args_is_help=False)
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(features, name="features")
app.add_typer(promotion.commands(lambda state: load_settings(state=state)), name="models")
app.command("ledger")(backtest.command(lambda state: load_settings(state=state)))


@app.command()
def train(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="forecast, signal, risk, anomaly; all when none is named")
    ] = None,
    features_version: Annotated[
        int | None,
        typer.Option(help="version of the table features, as a registered model names it; else the newest candles"),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="how many the signal learns from [default: 150000]; more than fit memory come in batches"),
    ] = None,
) -> None:
    """Train models on the lake's features, register them, and promote those that earned it; one JSON line each."""
    from ml.training import train as training
    from ml.validation.pipeline import before_training

    settings = load_settings()
    for kind in kinds or MODEL_KINDS:
        training.check_kind(kind)
    options = _learning_from(rows, kinds or MODEL_KINDS)
    if features_version is None:
        before_training(settings)
        features_version = training.build_features(settings).version
    for kind in kinds or MODEL_KINDS:
        result = training.train(kind, settings, options, features_version)
        typer.echo(json.dumps(result.__dict__))


def _learning_from(rows: int | None, kinds: Sequence[str]) -> Options:
    """Raises: Misconfigured for rows of a model that does not take them in batches."""
    from ml.models.signal import SignalOptions
    from ml.training.train import Options

    if rows is None:
        return Options()
    if rows < 1 or list(kinds) != ["signal"]:
        raise Misconfigured(
            "--rows is a number above 0 and goes with `signal` alone: its trees learn in batches, other models in memory"
        )
    return Options(signal=SignalOptions(most_rows=rows))


@app.command()
def monitor() -> None:
    """Look at models and value at risk once, as `models_monitor` does: outcomes, loss against promise, drift, what follows."""
    from ml.monitoring.watch import watch
    from ml.value_at_risk.live_coverage import tell_and_judge

    settings = load_settings()
    found = watch(settings, "a look by hand")
    typer.echo(str(found.joined))
    for sentence in (*found.sentences.values(), *tell_and_judge(settings.lake_url)):
        typer.echo(sentence)


@app.command()
def evaluate(
    train: Annotated[Path, typer.Option(help="folder of SYMBOL_5m.parquet to fit on")],
    test: Annotated[Path, typer.Option(help="folder of SYMBOL_5m.parquet to judge on, after the end of the first")],
    models: Annotated[str, typer.Option(help="which models, with commas; also value_at_risk")] = "risk,signal,forecast",
    json_only: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    folds: Annotated[int, typer.Option(help="fit anew before each of so many parts of the second folder")] = 1,
    html: Annotated[Path | None, typer.Option(help="write a page with plots of the models here")] = None,
) -> None:
    """Fit on one folder of candles and judge on another, beside the baselines; needs no network, no registry.

    The look is recorded in the lake (a folder in the state folder will do); where it cannot be, the result says so.
    """
    from ml.evaluation import evaluation_report
    from ml.looks import table
    from ml.training import trial

    kinds = [name.strip() for name in models.split(",") if name.strip()]
    cost = load_settings().costs.round_trip
    result = trial.run(train, test, kinds, folds, cost, lambda looks: table.record(_lake, looks))
    if html is not None:
        html.write_text(evaluation_report.pages(result), encoding="utf-8")
    typer.echo(json.dumps(result, indent=1) if json_only else trial.table(result))


@app.command()
def looks(json_only: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List every recorded look at held-out data; exit code 1 where the record was edited or lacks lines."""
    from ml.looks import counting, table

    record = table.record_of(_lake(may_create=False))
    typer.echo(json.dumps(counting.as_fields(record), indent=1) if json_only else "\n".join(counting.lines(record)))
    if record.faults:
        raise typer.Exit(1)


def _lake(may_create: bool = True) -> Lake:
    from quantstream.lake.store import Lake

    return Lake(load_settings().lake_url, may_create=may_create)


@app.command("check-lookahead")
def check_lookahead(candles: Candles = None) -> None:
    """Spoil the future: no feature may change before it, and no label that was known."""
    from ml.evaluation import leakage_checks

    _conclude({symbol: leakage_checks.lookahead(frame) for symbol, frame in _frames(candles).items()})


@app.command("check-parity")
def check_parity(candles: Candles = None) -> None:
    """Compute every feature and label as live and as in batch: the difference must be exactly 0."""
    from ml.evaluation import leakage_checks

    _conclude({symbol: leakage_checks.parity(frame) for symbol, frame in _frames(candles).items()})


def _frames(folder: Path | None) -> dict[str, pd.DataFrame]:
    from ml.evaluation import leakage_checks
    from ml.training import trial

    return trial.read_folder(folder) if folder is not None else {"a random market": leakage_checks.synthetic()}


def _conclude(found: dict[str, Verdict]) -> None:
    from ml.evaluation import leakage_checks

    typer.echo("\n".join(leakage_checks.summary(found)))
    if any(verdict.faults for verdict in found.values()):
        raise typer.Exit(1)


@features.callback(invoke_without_command=True)
def described(context: typer.Context) -> None:
    """Print the table of all features as Markdown, or see to the lake's table of them."""
    if context.invoked_subcommand is None:
        from quantstream.features import table

        typer.echo(table.markdown(), nl=False)


@features.command("build")
def build_features() -> None:
    """Bring the lake's table features up to its candles; where, QUANTSTREAM_DASK says. Prints what it did."""
    from ml.training import train as training

    typer.echo(str(training.build_features(load_settings())))


@features.command("prune")
def prune_features(
    hours: Annotated[
        int, typer.Option(help="files that left the newest version less than so long ago stay", min=1)
    ] = 168,
    dry_run: Annotated[bool, typer.Option(help="only say what would go")] = False,
) -> None:
    """Delete files of versions of the table features that no registered model names. Prints how many."""
    from ml.training import pinned_features

    typer.echo(pinned_features.prune(load_settings(), hours, dry_run))


@app.command()
def tune(
    train: Annotated[Path, typer.Option(help="folder of SYMBOL_5m.parquet; only its own inner folds are looked at")],
    kind: Annotated[str, typer.Option(help="risk or signal")] = "risk",
    trials: Annotated[int, typer.Option(help="how many settings are tried")] = 20,
    minutes: Annotated[float, typer.Option(help="stop after so long")] = 30.0,
) -> None:
    """Search settings by Optuna on inner folds of one folder; prints the best as JSON, changes nothing.

    Nothing held out is looked at, so no look is recorded; rows of this folder are held out no more.
    Where QUANTSTREAM_STUDIES names a database, all who search with the same candles take turns at one study's trials.
    """
    from ml.training import tuning

    storage = load_settings().studies.get_secret_value()
    typer.echo(json.dumps(tuning.search(train, kind, trials, minutes, storage), indent=1))


@app.command()
def rescore(
    version: Annotated[str, typer.Option(help="which one, like quantstream-risk/3 or, with --model, 3")],
    since: Annotated[str, typer.Option("--from", help="candles opened from here on: 2026-11-28T14:00, or 2h ago")],
    until: Annotated[str, typer.Option("--to", help="and before that")],
    model: Annotated[str, typer.Option(help="forecast, signal, risk or anomaly")] = "",
    symbol: Annotated[list[str] | None, typer.Option(help="only these; all when none is named")] = None,
    json_only: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Score once more from the lake what a version has scored live; exit code 1 unless all is equal to the last bit."""
    from ml.serving import rescoring
    from ml.serving.registry import Registry
    from quantstream.core.moments import parse_moment
    from quantstream.core.time import utc
    from quantstream.lake.store import Lake

    settings = load_settings()
    name, number = rescoring.named_version(model, version)
    start, end = (utc(parse_moment(text, lambda: time.time_ns() // 1000)) for text in (since, until))
    loaded = Registry(settings.mlflow_url).load(name, number)
    result = rescoring.rescore(Lake(settings.lake_url, may_create=False), loaded, start, end, symbol)
    typer.echo(json.dumps(result.fields(), indent=1) if json_only else "\n".join(result.lines()))
    if result.different:
        raise typer.Exit(1)


def main() -> int:
    """Run the command line; errors in the user's hands are one sentence."""
    set_up_logs("ml", "text" if sys.stderr.isatty() else "json")
    for handler in logging.getLogger().handlers:  # stdout is the answer's alone: it may be read by a program
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    try:
        code = app(standalone_mode=False)  # of a command that ended by `typer.Exit`; no command returns anything
    except QuantStreamError as error:
        typer.echo(str(error), err=True)
        return 2 if isinstance(error, Misconfigured) else 1
    except typer.Abort:
        return 130
    except Exception as error:  # usage errors of typer's own parser are the only ones expected here
        if not hasattr(error, "format_message"):
            raise
        typer.echo(error.format_message(), err=True)
        return 2
    return code or 0


if __name__ == "__main__":
    end_with(main)
