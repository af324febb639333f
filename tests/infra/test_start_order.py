"""Starting in order of readiness, and what is said of a process that does not come up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from infra.embedded.processes import Process
from infra.embedded.start_order import DEATHS, Startup, last_words
from infra.embedded.state import State
from infra.embedded.supervisor import Lives, Watched
from quantstream.core.errors import Misconfigured, Unavailable


@dataclass
class FakeSupervisor:
    """Every process that is started ends at once, with `code`, and was started again `dead` times."""

    state: State
    names: tuple[str, ...]
    code: int = 0
    dead: int = 0
    started: list[str] = field(default_factory=list)

    def start(self, name: str) -> None:
        self.started.append(name)

    def processes(self) -> dict[str, Watched]:
        ended = "backoff" if self.code else "exited"
        return {name: Watched(name, ended if name in self.started else "stopped", None, 0) for name in self.names}

    def lives(self) -> dict[str, Lives]:
        return dict.fromkeys(self.started, Lives(self.dead, self.code))


def once(name: str, *after: str) -> Process:
    return Process(name, ["true"], "ended://", after=after, runs_once=True)


def always(name: str) -> Process:
    return Process(name, ["true"], "http://127.0.0.1:1/")


def test_process_starts_only_when_those_before_it_are_ready(state: State) -> None:
    supervisor = FakeSupervisor(state, ("a", "b", "c"))
    steps: list[tuple[list[str], list[str]]] = []
    processes = [once("c", "b"), once("b", "a"), once("a")]
    Startup(processes, supervisor).run(lambda now: steps.append((sorted(now.started), sorted(now.ready))))  # type: ignore[arg-type]
    assert supervisor.started == ["a", "b", "c"]
    assert steps == [(["a"], ["a"]), (["a", "b"], ["a", "b"]), (["a", "b", "c"], ["a", "b", "c"])]


def test_what_follows_readiness_is_done_before_the_next_process_starts(state: State) -> None:
    supervisor = FakeSupervisor(state, ("broker", "ingest"))
    seen: list[list[str]] = []
    hooks = {"broker": lambda: seen.append(list(supervisor.started))}
    Startup([once("broker"), once("ingest", "broker")], supervisor, hooks).run(lambda _: None)  # type: ignore[arg-type]
    assert seen == [["broker"]]


def test_process_that_says_it_is_misconfigured_is_quoted(state: State) -> None:
    (state.logs / "ingest.log").write_text(
        'starting\n{"level": "error", "message": "NOPE is not a symbol; check it"}\n'
    )
    supervisor = FakeSupervisor(state, ("ingest",), code=2)
    with pytest.raises(Misconfigured, match=r"^ingest: NOPE is not a symbol; check it$"):
        Startup([always("ingest")], supervisor).run(lambda _: None)  # type: ignore[arg-type]


def test_process_that_keeps_ending_is_given_up_with_its_last_words(state: State) -> None:
    (state.logs / "score.log").write_text("out of memory\n")
    supervisor = FakeSupervisor(state, ("score",), code=1, dead=DEATHS)
    with pytest.raises(Unavailable, match=r"score ended with code 1: out of memory \(see .*score\.log\)"):
        Startup([always("score")], supervisor).run(lambda _: None)  # type: ignore[arg-type]


def test_process_that_ended_once_is_given_another_chance(state: State) -> None:
    supervisor = FakeSupervisor(state, ("score",), code=1, dead=1)
    with pytest.raises(Unavailable, match=r"score did not get ready in 0 s; see .*score\.log"):
        Startup([always("score")], supervisor).run(lambda _: None, patience=0.0)  # type: ignore[arg-type]


def test_one_off_that_fails_ends_the_start(state: State) -> None:
    supervisor = FakeSupervisor(state, ("airflow-migrate",), code=1)
    with pytest.raises(Unavailable, match="airflow-migrate ended with code 1: it said nothing"):
        Startup([once("airflow-migrate")], supervisor).run(lambda _: None)  # type: ignore[arg-type]


def test_last_words_are_the_last_line_that_is_not_empty(state: State) -> None:
    (state.logs / "a.log").write_text("first\nsecond\n\n")
    assert last_words(FakeSupervisor(state, ()), "a") == "second"  # type: ignore[arg-type]
