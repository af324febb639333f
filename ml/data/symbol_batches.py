"""Symbols in batches: a pipeline maps a task to each, for Airflow takes at most 1,024 and a pod a symbol is too many.

In a batch one symbol's trouble stays its own: the others are done all the same, and what was refused is named at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar, cast

from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.engine import Done

log = logging.getLogger(__name__)
Result = TypeVar("Result")
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


def outcomes_of(checked: Iterable[Done[str, Result]], said: Callable[[Result], str | None]) -> Outcomes:
    """Return what became of a batch; `said` makes a sentence of a symbol's result, or None where there was nothing to do.

    Raises: the first error that another try may fix, after every other symbol was done.
    """
    outcomes, later = Outcomes(), None
    for one in checked:
        if isinstance(one.error, (DataRejected, Misconfigured)):
            outcomes.refused[one.item] = str(one.error)
            log.warning("%s is refused: %s", one.item, one.error)  # an error below would take the outcomes with it
        elif one.error is not None:  # raised below, after the others; another try finds them done
            later = later or one.error
            log.error("%s failed", one.item, exc_info=one.error)
        elif (sentence := said(cast("Result", one.result))) is not None:
            outcomes.done.append(sentence)
    if later is not None:
        raise later
    return outcomes
