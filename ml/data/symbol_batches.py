"""Symbols in batches: a pipeline maps a task to each, for Airflow takes at most 1,024 and a pod a symbol is too many.

In a batch one symbol's trouble stays its own: the others are done all the same, and what was refused is named at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from quantstream.core.errors import DataRejected, Misconfigured

log = logging.getLogger(__name__)
MOST_TASKS = 100  # so many symbols have a task each; more share them


@dataclass
class Outcomes:
    """The outcomes of a batch: a sentence for each symbol that was done, a reason for each that was refused."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def batches(symbols: Sequence[str], most: int = MOST_TASKS) -> list[list[str]]:
    """Return the symbols, in order, in at most so many batches whose sizes differ by one at most."""
    count = min(len(symbols), most)
    bounds = [len(symbols) * number // count for number in range(count + 1)] if count else [0]
    return [list(symbols[start:end]) for start, end in pairwise(bounds)]


def title(batch: Sequence[str]) -> str:
    """Return the name of a batch for people."""
    return batch[0] if len(batch) == 1 else f"{batch[0]} … {batch[-1]} ({len(batch)})"


def in_turn(batch: Sequence[str], work: Callable[[str], str | None]) -> Outcomes:
    """Do one symbol after the other; `work` returns a sentence, or None where there was nothing to do.

    Raises: the first error that another try may fix, after every other symbol was done.
    """
    outcomes, later = Outcomes(), None
    for symbol in batch:
        try:
            result = work(symbol)
        except (DataRejected, Misconfigured) as error:
            outcomes.refused[symbol] = str(error)
            log.warning("%s is refused: %s", symbol, error)  # an error below would take the outcomes with it
        except Exception as error:  # raised below, after the others; another try finds them done
            later = later or error
            log.exception("%s failed", symbol)
        else:
            outcomes.done += [result] if result is not None else []
    if later is not None:
        raise later
    return outcomes
