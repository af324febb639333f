"""The `quantstream` command: start, look at, stop and remove the embedded stack; recorded trades to candles.

Imports of weight are inside the commands, so that `--help` and `status` answer at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from infra.cli import lake_commands, proof_commands
from ml.value_at_risk.cli import register as register_value_at_risk
from quantstream.core.errors import Misconfigured, QuantStreamError
from quantstream.process_end import end_with
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings

app = typer.Typer(
    help="Exact market data, honest forecasts: the embedded stack on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]


def _settings(state: Path | None, **overrides: Any) -> Settings:
    return load_settings(state=state, **overrides)


def _checked(regime: str, plays_synthetic: bool) -> str:
    """Return a change of regime as it was given. Raises: Misconfigured where it is none, or is not played."""
    if not regime:
        return ""
    from argparse import ArgumentTypeError

    from streaming.exchange.cli import regime_of

    if not plays_synthetic:
        raise Misconfigured("--regime is planted in the synthetic market; leave --recording and --exchange binance out")
    try:
        regime_of(regime)
    except ArgumentTypeError as error:
        raise Misconfigured(f"--regime: {error}") from None
    return regime


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is ready; stop with: quantstream down")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With --detach: return when the first models serve, too")
    ] = False,
    exchange: Annotated[str | None, typer.Option(help="simulated or binance [default: simulated]")] = None,
    recording: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Recorded trades to play instead of a synthetic market; repeatable"),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.01, max=10_000, help="Times real time [default: 30, recordings 1]")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B", help="What to follow, as the exchange writes it")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the synthetic market")] = None,
    regime: Annotated[
        str,
        typer.Option(metavar="ISO=FACTOR", help="Plant a change in the synthetic market: moves so many times as large"),
    ] = "",
    state: StateOption = None,
    dashboard_port: Annotated[int | None, typer.Option(help="[default: 8501 or the next free]")] = None,
    airflow_port: Annotated[int | None, typer.Option(help="[default: 8080 or the next free]")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="[default: 5000 or the next free]")] = None,
) -> None:
    """Start everything and open for business; Ctrl-C stops it cleanly."""
    from infra.cli.up import Request, run

    ports = {"dashboard": dashboard_port, "airflow": airflow_port, "mlflow": mlflow_port}
    given = {name: port for name, port in ports.items() if port is not None}
    if recording and exchange == "binance":
        raise Misconfigured("--recording is played by the simulated exchange; leave --exchange binance out")
    overrides = {"exchange": exchange, "symbols": symbols, "ports": given or None}
    settings = _settings(state, **overrides)
    request = Request(
        settings=settings,
        recordings=tuple(recording or ()),
        speed=speed,
        seed=seed,
        regime=_checked(regime, settings.exchange == "simulated" and not recording),
        names_symbols=symbols is not None,
        named_ports=frozenset(given),
        detach=detach,
        wait=wait,
    )
    raise typer.Exit(run(request))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table")] = False,
    state: StateOption = None,
) -> None:
    """Show processes, lag, candles and scores of each symbol, champions."""
    from infra.cli.status import look
    from infra.embedded.state import State

    seen = look(State.at(_settings(state).state))
    if as_json:
        typer.echo(seen.as_json())
        return
    from infra.cli.status_tables import print_status

    print_status(seen)


@app.command()
def logs(
    stage: Annotated[str | None, typer.Argument(help="One process, e.g. ingest; all when left out")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new lines come")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines to begin with")] = 50,
    state: StateOption = None,
) -> None:
    """Show what the processes log."""
    from infra.cli.process_logs import show
    from infra.embedded.state import State

    show(State.at(_settings(state).state).logs, stage, follow, lines)


@app.command()
def down(state: StateOption = None) -> None:
    """Stop everything; nothing is left running, everything stored stays."""
    from infra.cli.up import stop
    from infra.embedded.state import State

    stop(State.at(_settings(state).state))


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    state: StateOption = None,
) -> None:
    """Stop everything and remove the state folder with all that is stored in it."""
    from infra.embedded import stack
    from infra.embedded.state import State

    place = State.at(_settings(state).state)
    if not place.folder.exists():
        typer.echo(f"There is no {place.folder}: nothing to remove.")
        return
    if not place.stack_file.exists() and any(place.folder.iterdir()):
        raise Misconfigured(
            f"{place.folder} is not a state folder of QuantStream (it has no stack.json); nothing was removed"
        )
    if not yes and not typer.confirm(f"Remove {place.folder} with all data and models in it?"):
        raise typer.Exit(1)
    stack.remove(place)
    typer.echo(f"Stopped everything and removed {place.folder}.")


@app.command()
def doctor(state: StateOption = None) -> None:
    """Check this machine and the state folder; each line says ok or what to do."""
    from infra.cli.doctor import examine
    from infra.cli.status_tables import print_findings
    from infra.embedded.state import State

    findings = examine(State.at(_settings(state).state), _settings(state))
    print_findings(findings)
    if not all(finding.is_ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def candles(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Recorded trades, in any of the known shapes")],
    out: Annotated[Path, typer.Option(metavar="X.parquet|X.csv", help="Where to write")],
    interval: Annotated[str, typer.Option(help="1m, 5m, 15m, 1h …")] = "5m",
    symbol: Annotated[
        str | None, typer.Option(help="Whose trades they are, where neither rows nor file names tell")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME…", help="What a CSV's columns are, in its order, e.g. id,price,qty,time,side"),
    ] = None,
) -> None:
    """Make candles of recorded trades, offline, with exact decimals; exit code 3 when rows were refused or trades are missing."""
    from infra.cli.candles_command import make

    raise typer.Exit(make(files, out, interval, symbol, columns))


proof_commands.register(app)
lake_commands.register(app)
register_value_at_risk(app, proof_commands.stack_settings)


def main() -> NoReturn:
    """Run the command and end the process."""
    end_with(_run)


def _run() -> None:
    """Run the command; an error is one sentence on stderr and exit code 2 for misuse, 1 else."""
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of reaches the person as our errors
    try:
        app(prog_name="quantstream")
    except QuantStreamError as error:
        sys.stderr.write(f"quantstream: {error}\n")
        sys.exit(2 if isinstance(error, Misconfigured) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
