"""The engine: the same results in the process and on a cluster, what fails is named, and nothing piles up."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from quantstream import engine
from quantstream.core.errors import DataRejected, Unavailable


def square(number: int) -> tuple[int, int]:
    if number == 3:
        raise DataRejected("three is refused")
    return number * number, os.getpid()


@pytest.mark.parametrize("dask", ["", "local"])
def test_an_item_that_fails_is_named_and_the_others_go_on(dask: str) -> None:
    done = list(engine.spread(square, range(20), dask))
    assert {one.item: one.result[0] for one in done if one.result} == {n: n * n for n in range(20) if n != 3}
    (failed,) = [one for one in done if one.error]
    assert (failed.item, str(failed.error), type(failed.error)) == (3, "three is refused", DataRejected)
    processes = {one.result[1] for one in done if one.result}
    assert (os.getpid() in processes) == (dask == "")
    assert len(processes) <= engine.WORKERS


@pytest.mark.parametrize("dask", ["", "local"])
def test_no_more_items_are_taken_than_there_are_hands_for(dask: str) -> None:
    taken = done = most = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10, 50):
            taken += 1
            yield number

    for _ in engine.spread(square, items(), dask):
        most = max(most, taken - done)
        done += 1
    assert done == 40
    assert most <= engine.WORKERS * engine.WAITING


def test_a_cluster_that_cannot_start_here_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise RuntimeError("Nanny failed to start.") from OSError(28, "No space left on device")

    monkeypatch.setattr("distributed.LocalCluster", fails)
    with pytest.raises(
        Unavailable, match=r"no Dask cluster could be started on this machine: OSError: .*No space left"
    ):
        list(engine.spread(square, range(3), "local"))


def test_a_scheduler_that_does_not_answer_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT", 1)
    with pytest.raises(Unavailable, match=r"the Dask scheduler at tcp://127\.0\.0\.1:1 does not answer"):
        list(engine.spread(square, range(3), "tcp://127.0.0.1:1"))
