"""`--local`: the same questions to the stack of this machine, without kubectl."""

from __future__ import annotations

import json
import os
import time

from tests.monitor.conftest import FakeStack


def test_a_stack_that_is_well_is_fine(stack: FakeStack) -> None:
    run = stack.run("health", "--skip", "disk")
    assert (run.returncode, run.stderr) == (0, "")
    assert "6 of 6 are ready" in run.stdout
    assert "the oldest last candle of 2 symbols" in run.stdout
    assert "the exchange's clock moves" in run.stdout


def findings(stack: FakeStack, *arguments: str) -> tuple[int, set[tuple[str, str, str, str]]]:
    run = stack.run(*arguments, "--json")
    output = json.loads(run.stdout)
    assert output["exit"] == run.returncode
    keys = ("severity", "check", "object", "reason")
    return run.returncode, {tuple(one[key] for key in keys) for one in output["findings"]}  # type: ignore[misc]


def test_a_process_that_is_down_or_not_ready_is_critical(stack: FakeStack) -> None:
    stack.processes["sink"] |= {"state": "stopped", "ready": False}
    stack.processes["score"] |= {"ready": False}
    code, seen = findings(stack, "health")
    assert code == 2
    assert {("critical", "process", "sink", "Down"), ("critical", "process", "score", "NotReady")} <= seen


def test_a_stage_that_does_not_answer_cannot_be_told_from(stack: FakeStack) -> None:
    gone = stack.servers[3]
    gone.shutdown()
    gone.server_close()
    code, seen = findings(stack, "health", "--skip", "disk")
    assert (code, ("unknown", "metrics", "sink", "Unreadable") in seen) == (3, True)


def test_restarts_are_read_from_the_supervisor(stack: FakeStack) -> None:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 60))
    line = f"{at},183 WARN exited: aggregate (terminated by SIGKILL; not expected)\n"
    (stack.folder / "logs" / "supervisord.log").write_text(line)
    code, seen = findings(stack, "health", "--skip", "disk")
    assert (code, ("warning", "process", "aggregate", "Restarted") in seen) == (1, True)
    run = stack.run("events")
    assert run.returncode == 1
    assert "aggregate  (terminated by SIGKILL; not expected)" in run.stdout


def test_logs_of_the_state_folder_by_their_own_times(stack: FakeStack) -> None:
    def line(age: int, message: str) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - age))
        return json.dumps({"at": f"{at}.000+00:00", "level": "error", "stage": "sink", "message": message}) + "\n"

    log = stack.folder / "logs" / "sink.log"
    log.write_text(line(7200, "long ago") + line(60, "offset 17 is gone") + line(30, "offset 18 is gone"))
    run = stack.run("logs", "--stage", "sink", "--since", "10m")
    assert run.returncode == 0
    assert "2 errors and 0 warnings in 2 lines" in run.stdout
    assert "2  sink   error  offset 17 is gone" in run.stdout
    assert "long ago" not in run.stdout


def logged(age: int, message: str) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - age))
    return json.dumps({"at": f"{at}.000+00:00", "level": "error", "stage": "sink", "message": message}) + "\n"


def test_what_was_rotated_away_meanwhile_is_read_too(stack: FakeStack) -> None:
    folder = stack.folder / "logs"
    (folder / "sink.log.1").write_text(logged(7200, "long ago") + logged(300, "offset 16 is gone"))
    (folder / "sink.log").write_text(logged(60, "offset 17 is gone"))
    run = stack.run("logs", "--stage", "sink", "--since", "10m")
    assert "2 errors and 0 warnings in 2 lines" in run.stdout


def test_a_log_is_cut_only_where_what_was_left_out_is_of_the_time_asked_for(stack: FakeStack) -> None:
    lines = [logged(7200, "long ago")] * 20 + [logged(120, "offset 17 is gone")] * 10
    (stack.folder / "logs" / "sink.log").write_text("".join(lines))
    whole = stack.run("logs", "--stage", "sink", "--since", "10m", "--max-lines", "15", "--errors-critical", "99")
    assert "Cut" not in whole.stdout
    assert "10 errors and 0 warnings in 10 lines" in whole.stdout
    cut = stack.run("logs", "--stage", "sink", "--since", "10m", "--max-lines", "6", "--errors-critical", "99")
    assert cut.returncode == 1
    assert "its last 6 lines were read (--max-lines); they begin 2 min ago" in cut.stdout


def test_nothing_started_and_a_damaged_state_are_not_fine(stack: FakeStack) -> None:
    (stack.folder / "stack.json").write_text('{"processes": {')
    damaged = stack.run("health")
    assert (damaged.returncode, "is damaged" in damaged.stdout) == (3, True)
    (stack.folder / "stack.json").unlink()
    gone = stack.run("health")
    assert (gone.returncode, "run quantstream up" in gone.stdout) == (2, True)


def test_a_stack_without_one_of_the_stages_is_critical(stack: FakeStack) -> None:
    described = json.loads((stack.folder / "stack.json").read_text())
    del described["processes"]["score"]
    (stack.folder / "stack.json").write_text(json.dumps(described))
    code, seen = findings(stack, "health")
    assert (code, ("critical", "stage", "score", "Missing") in seen) == (2, True)


def test_usage_of_each_process(stack: FakeStack) -> None:
    stack.processes = {"sink": {"state": "running", "ready": True, "pid": os.getpid(), "restarts": 2}}
    output = json.loads(stack.run("top", "--json").stdout)
    (row,) = output["usage"]
    assert (row["process"], row["pid"], row["restarts"]) == ("sink", os.getpid(), 2)
    assert row["memory_mib"] > 10


def test_mute_streams_and_silences_that_nothing_proves_are_critical_and_a_delisted_symbol_is_a_warning(
    stack: FakeStack,
) -> None:
    well = stack.texts["ingest"]
    stack.texts["ingest"] = well + "quantstream_ingest_mute_streams 2.0\nquantstream_ingest_unproven_symbols 3.0\n"
    code, seen = findings(stack, "health", "--skip", "disk")
    assert code == 2
    assert {("critical", "streams", "ingest", "Mute"), ("critical", "streams", "ingest", "Unproven")} <= seen
    stack.texts["ingest"] = well + "quantstream_ingest_mute_streams 0.0\nquantstream_ingest_symbols_set_aside 1.0\n"
    code, seen = findings(stack, "health", "--skip", "disk")
    assert (code, ("warning", "symbols", "ingest", "SetAside") in seen) == (1, True)
