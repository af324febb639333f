"""The monitor's parts, each on its own, and that the one file that is handed out is built of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitor.conftest import MONITOR

FOLDER = MONITOR.parent


def test_the_file_is_what_its_parts_come_to(tmp_path: Path) -> None:
    subprocess.run([FOLDER / "build", tmp_path / "built"], check=True)
    assert (tmp_path / "built").read_text() == MONITOR.read_text(), "run infra/monitor/build and commit both"


def test_no_part_is_left_out_or_too_long_to_read() -> None:
    built = MONITOR.read_text()
    for part in [*FOLDER.glob("parts/*.bash"), *FOLDER.glob("awk/*.awk")]:
        lines = part.read_text().splitlines()
        assert len(lines) <= 150, part.name
        assert lines[-1] in built, part.name
        assert lines[0].startswith("#"), f"{part.name} does not say what it is"


def awk(text: str, *programs: str, own: str = "", **variables: object) -> subprocess.CompletedProcess[str]:
    """Run some of the awk programs, as the built file puts them together, over a text."""
    source = "".join((FOLDER / "awk" / f"{name}.awk").read_text() for name in programs) + own
    given_ = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
    return subprocess.run(["awk", *given_, source], input=text, capture_output=True, text=True, check=False, timeout=60)


TOKENS = r'"([^"\\]|\\.)*"|[][{}:,]|[^][{}:,"[:space:]]+|[^[:space:]]'
LEAVES = 'function leaf(path, value) { print path "\t" value } function item_end(i) {} function done() {}'


def read(text: str, documents: int = 1) -> subprocess.CompletedProcess[str]:
    """Read JSON as the monitor does, and print each value with its path."""
    assert TOKENS in (FOLDER / "parts" / "answers.bash").read_text()
    tokens = subprocess.run(["grep", "-oE", TOKENS], input=text, capture_output=True, text=True, check=False).stdout
    return awk(tokens, "words", "json", own=LEAVES, DOCS=documents)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, str(key)))
    elif value is not None:
        yield f"{'|'.join(path)}\t{value if isinstance(value, str) else json.dumps(value)}"


words = st.text("abc xyz{}[]:,/.-", max_size=6)
documents = st.recursive(
    st.dictionaries(words, st.none() | st.booleans() | st.integers() | words, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: {"k": found}) | st.dictionaries(words, inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(documents, st.booleans())
def test_any_json_is_read_for_what_it_says(document: dict[str, Any], is_wide: bool) -> None:
    run = read(json.dumps(document, indent=4 if is_wide else None))
    assert (run.returncode, run.stdout.splitlines()) == (0, list(leaves(document)))


@settings(max_examples=40, deadline=None)
@given(documents, st.data())
def test_json_that_stops_anywhere_is_refused(document: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(document)
    stop = data.draw(st.integers(0, len(text) - 1))
    assert read(text[:stop]).returncode == 9
    assert read(text + text[:stop], documents=2).returncode == 9


def test_lists_one_behind_the_other_are_as_many_as_were_asked_for() -> None:
    text = json.dumps({"items": [{"metadata": {"name": "a"}}]})
    assert [read(text * number, documents=2).returncode for number in (1, 2, 3)] == [9, 0, 9]


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("*/15 * * * *", 900),
        ("7 * * * *", 3600),
        ("0 */6 * * *", 21600),
        ("20 3 * * *", 86400),
        ("20 3,15 * * *", 86400),
        ("CRON_TZ=Europe/Berlin 0 4 * * *", 86400),
        ("0 4 * * 1", 604800),
        ("0 4 1 * *", 2678400),
        ("0 4 */2 * *", 172800),
        ("0 4 1 1 *", 31622400),
        ("@daily", 86400),
        ("@hourly", 3600),
    ],
)
def test_how_often_a_cron_job_is_due_at_least(schedule: str, seconds: int) -> None:
    run = awk("", "words", "json", "items", "jobs", own=f'BEGIN {{ print period("{schedule}") }}')
    assert int(run.stdout) == seconds


def rates(*lines: str) -> tuple[str, list[str]]:
    """Return lines, errors, warnings and fatals of a log, and its messages."""
    out = awk("\n".join(lines) + "\n", "words", "logs", stage="x", since=0, offset=0, now=0).stdout.splitlines()
    (rate,) = [line.split("\t") for line in out if line.startswith("R\t")]
    return " ".join(rate[2:6]), sorted(line.split("\t")[4] for line in out if line.startswith("G\t"))


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("2026-11-22 17:55:00.000 UTC [71] FATAL:  the database system is starting up", "1 1 0 1"),
        ("2026-11-22 17:55:00.000 UTC [71] ERROR:  relation does not exist", "1 1 0 0"),
        ("2026-11-22 17:55:00.000 UTC [71] LOG:  database system is ready", "1 0 0 0"),
        ('{"level": "critical", "message": "nobody foresaw this"}', "1 1 0 1"),
        ("F1122 17:55:05.000001       1 main.go:41] cannot go on", "1 1 0 1"),
        ("panic: runtime error: index out of range", "1 1 0 1"),
        ("[2026-11-22 17:55:02,396] WARN [Broker id=1] slow (kafka.server)", "1 0 1 0"),
        ("18:55:06 info    checked the log: no errors found", "1 0 0 0"),
        ("\tat org.apache.kafka.common.errors.Fatal.error(Fatal.java:4)", "1 0 0 0"),
    ],
)
def test_a_line_is_as_bad_as_it_says(line: str, seen: str) -> None:
    assert rates(line)[0] == seen


def test_frames_of_a_trace_are_no_errors_of_their_own() -> None:
    trace = (
        "ERROR it broke",
        "java.lang.Error: x",
        "    at a.Fatal.error(Fatal.java:1)",
        "Caused by: a.b.CException: why",
    )
    assert rates(*trace) == ("4 1 0 0", ["ERROR it broke: java.lang.Error: x; caused by a.b.CException: why"])
