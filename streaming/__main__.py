"""`python -m streaming STAGE`: the stages, the simulated exchange, and the proof, as commands.

A stage that loses Kafka or the exchange for good ends with one sentence and a non-zero code: its supervisor starts it
again, and it goes on from what was committed. There is no second way to recover.
"""

from __future__ import annotations

import argparse
import logging
import sys

from quantstream.core.errors import Misconfigured, QuantStreamError
from quantstream.messages.stages import STAGES
from quantstream.observability.logs import set_up_logs
from quantstream.process_end import end_with
from quantstream.settings_loader import load_settings
from streaming.backups.cli import COMMANDS as BACKUPS
from streaming.backups.cli import main as keep
from streaming.reconcile.cli import COMMANDS as PROOFS
from streaming.reconcile.cli import main as prove

log = logging.getLogger("streaming")


def main(argv: list[str] | None = None) -> int:
    """Run one stage until SIGTERM; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["simulate"]:
        from streaming.exchange.cli import main as simulate

        return simulate(arguments[1:])
    if arguments and arguments[0] in PROOFS:
        return prove(arguments[0], arguments[1:])
    if arguments[:1] == ["backfill"]:
        from streaming.backfill.cli import main as backfill

        return backfill(arguments[1:])
    if arguments and arguments[0] in BACKUPS:
        return keep(arguments[0], arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m streaming", description="Run one stage of the pipeline.")
    parser.add_argument("stage", choices=[*STAGES, "simulate", "backfill", *PROOFS, *BACKUPS])
    stage: str = parser.parse_args(arguments).stage
    try:
        settings = load_settings()
        set_up_logs(stage, settings.log_format)
        from streaming.runner import run

        return run(stage, settings)
    except Misconfigured as error:
        print(f"{stage}: {error}", file=sys.stderr)
        return 2
    except QuantStreamError as error:
        log.error("stage ends", extra={"reason": str(error)})  # noqa: TRY400  (a sentence, not a traceback)
        return 1


if __name__ == "__main__":
    end_with(main)
