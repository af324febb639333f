"""Every benchmark runs and prints what it promises; nothing is timed here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as runner
from bench.measure import machine, results
from bench.measure.result import Row, report

KEYS = {"bench", "quick", "ours", "floor", "ratio", "unit", "rows", "machine"}
# What must be right whatever the machine: nothing lost, nothing twice, the fast way equal to the plain one.
TRUE = {
    "aggregate": ("exactly_once",),
    "backfill": ("equals_one_by_one", "equals_floats", "out_of_order_equals", "lake_is_whole"),
    "engines": ("exactly_once",),
    "score": ("complete",),
}


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("name", runner.BENCHES)
def test_a_benchmark_runs_and_its_counts_are_right(name: str) -> None:
    found = runner.run(name, quick=True)
    assert found.keys() >= KEYS
    assert found["bench"] == name
    assert found["quick"] is True
    assert all(row["ours"] > 0 for row in found["rows"])
    assert {key: found[key] for key in TRUE.get(name, ())} == dict.fromkeys(TRUE.get(name, ()), True)
    if name == "latency":
        assert found["matched"] == found["trades"] > 0


def test_a_name_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--quick", "no_such_benchmark"]) == 2
    assert "there is no benchmark no_such_benchmark" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (Row("a", "x/s", 300, 280, 450), "target"),
        (Row("a", "x/s", 500, 280, 450), "aim"),
        (Row("a", "x/s", 100, 280, 450), "no"),
        (Row("a", "x/s", 100, 280, 450, floor=110, target_ratio=0.6, aim_ratio=0.95), "target"),
        (Row("a", "ms", 7, 20, 5, better="lower"), "target"),
        (Row("a", "ms", 4, 20, 5, better="lower"), "aim"),
        (Row("a", "ms", 40, 20, 5, better="lower"), "no"),
        (Row("a", "ms", 40), "none set"),
    ],
)
def test_a_target_is_reached_by_the_figure_or_by_its_share_of_the_floor(row: Row, reached: str) -> None:
    assert row.reached == reached


def test_results_keep_what_was_not_run_again(tmp_path: Path) -> None:
    def found(name: str, ours: float) -> dict[str, Any]:
        row = Row(
            f"{name}: trades", "trades/s", ours, 280_000, 450_000, 450_000, "decoding", peers={"other <engine>": 9.0}
        )
        return report(name, [row], quick=False)

    results.update(tmp_path, {"one": found("one", 300_000), "two": found("two", 100_000)}, {})
    results.update(tmp_path, {"two": found("two", 500_000)}, {"three": "it broke\nat length"})
    table = (tmp_path / "RESULTS.md").read_text()
    assert (
        "| one: trades | 300,000 trades/s | decoding 450,000; other <engine> 9 | 0.67 | ≥ 280,000 | ≥ 450,000 | ✔ |"
        in table
    )
    assert "| two: trades | 500,000 trades/s |" in table
    assert "100,000" not in table
    assert "`three` failed in the last run: it broke\n" in table
    assert "other &lt;engine&gt;" in (tmp_path / "results.svg").read_text()
    assert set(json.loads((tmp_path / "results.json").read_text())) == {"one", "two"}


def test_the_processor_is_named(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fine Processor\n")
    assert machine.cpu_model(tmp_path / "cpuinfo") == "A Fine Processor"
    assert machine.describe()["versions"]["numpy"]
