"""logs, events, top, watch, report, and how the command line is used."""

from __future__ import annotations

import json

import pytest

from tests.monitor.looking import Monitor, tools
from tests.monitor.played import MINUTE, RECORDED, STAGES, Played, ago, stamped, well
from tests.monitor.situations import ended, not_ready, waiting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a second each, more on a busy machine
MIXED = (RECORDED / "logs" / "mixed.txt").read_text().splitlines()


def event(reason: str, name: str, count: int, since: float, message: str) -> dict[str, object]:
    return {
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason}", "namespace": "quantstream", "creationTimestamp": ago(since)},
        "type": "Warning",
        "reason": reason,
        "count": count,
        "message": message,
        "lastTimestamp": ago(since),
        "involvedObject": {"kind": "Pod", "name": name},
    }


def messages(monitor: Monitor, played: Played, *arguments: str) -> dict[str, tuple[int, str]]:
    """Return the messages of a log with how often each was there and at which level."""
    output = monitor.json(played, "logs", *arguments).output
    return {one["message"]: (one["count"], one["level"]) for one in output["messages"]}


def test_rates_per_part_and_similar_messages_put_together(monitor: Monitor) -> None:
    look = monitor.json(well("local"), "logs", "--since", "10m")
    assert look.code == 0
    texts = {one["object"]: one["text"] for one in look.output["findings"]}
    assert texts["ingest"] == "0 errors and 3 warnings in 6 lines of the last 10m"
    assert {"postgres", "kafka", "mlflow", "airflow-scheduler", *STAGES} <= set(texts)
    top = look.output["messages"][0]
    assert (top["count"], top["stage"], top["level"]) == (3, "ingest", "warning")


def test_the_logs_of_a_whole_cluster_are_read_and_a_limit_is_told(monitor: Monitor) -> None:
    look = monitor.json(well("prod"), "logs")
    assert (look.code, look.text("logs", "NotRead")) == (0, "")
    assert "only the logs of 3 of" in monitor.json(None, "logs", "--max-pods", "3").text("logs", "NotRead")


def test_tracebacks_log4j_and_klog_lines_are_counted_for_what_they_are(monitor: Monitor) -> None:
    played = well("local")
    played.log("sink", stamped(*MIXED))
    look = monitor.json(played, "logs", "--stage", "sink", "--since", "1h")
    assert look.text("logs", "Rate") == "4 errors and 2 warnings in 15 lines of the last 1h"
    found = messages(monitor, played, "--stage", "sink", "--since", "1h")
    assert found["ValueError: bad value 17"] == (2, "error")
    assert not any("no errors found" in message for message in found)


def test_a_log_that_was_cut_is_said_to_be_cut_and_its_rate_is_of_what_was_read(monitor: Monitor) -> None:
    played = well("local")
    noise = [f"ERROR offset {number} is gone" for number in range(100)]  # one a second, the last of them now
    played.log("sink", stamped(*noise, since=100))
    whole = monitor.json(played, "logs", "--stage", "sink", "--since", "10m")
    assert whole.text("logs", "Rate") == "100 errors and 0 warnings in 100 lines of the last 10m"
    cut = monitor.json(None, "logs", "--stage", "sink", "--since", "10m", "--max-lines", "8")
    assert cut.code == 2  # a minute's rate of 60, not 8 in ten minutes
    assert {one[:1] + one[3:] for one in cut.troubles} == {("warning", "Cut"), ("critical", "Rate")}
    output = cut.text("logs", "Cut")
    assert (
        "the log of the last 10m is longer than what was read of it: its last 8 lines were read (--max-lines)" in output
    )
    assert "they begin 9 s ago" in output


def test_a_log_of_exactly_as_many_lines_as_are_read_was_not_cut(monitor: Monitor) -> None:
    played = well("local")
    played.log("sink", stamped(*["all is well"] * 8))
    assert monitor.json(played, "logs", "--stage", "sink", "--max-lines", "8").code == 0


def test_a_log_too_large_to_read_is_said_to_be_cut(monitor: Monitor) -> None:
    played = well("local")
    played.log("sink", stamped(*["x" * 100_000] * 210, since=500))
    look = monitor.json(played, "logs", "--stage", "sink")
    assert look.code == 1
    assert "its first 20 MB were read, what came later was not" in look.text("logs", "Cut")


def test_one_fatal_line_is_no_peace(monitor: Monitor) -> None:
    played = well("local")
    played.log(
        "postgres", stamped('2026-11-22 17:55:00.000 UTC [71] FATAL:  password authentication failed for user "x"')
    )
    look = monitor.json(played, "logs", "--stage", "postgres", "--since", "1h")
    assert look.troubles == {("warning", "logs", "postgres", "Fatal")}
    assert look.text("logs", "Fatal") == "1 error (1 fatal) and 0 warnings in 1 line of the last 1h"


def test_a_java_trace_is_one_error_and_keeps_its_cause(monitor: Monitor) -> None:
    played = well("local")
    trace = (
        "[2026-11-22 17:55:02,396] ERROR [Broker id=0] Error while replicating (kafka.server.ReplicaFetcher)",
        "org.apache.kafka.common.errors.KafkaStorageException: the log is away",
        "\tat org.apache.kafka.Server.run(Server.java:17)",
        "Caused by: java.io.UncheckedIOException: wrapped",
        "\tat org.apache.kafka.Log.append(Log.java:4)",
        "\t... 12 more",
        "Caused by: java.io.IOException: No space left on device",
        "\t... 14 more",
        "[2026-11-22 17:55:03,000] INFO [Broker id=0] goes on (kafka.server.Broker)",
        "java.lang.IllegalStateException: nobody logged this",
        "\tat org.apache.kafka.Server.run(Server.java:17)",
    )
    played.log("kafka", stamped(*trace))
    look = monitor.json(played, "logs", "--stage", "kafka", "--since", "1h")
    assert look.text("logs", "Rate").startswith("2 errors and 0 warnings")
    assert messages(monitor, played, "--stage", "kafka") == {
        "ERROR [Broker id=0] Error while replicating (kafka.server.ReplicaFetcher): org.apache.kafka.common.errors."
        "KafkaStorageException: the log is away; caused by java.io.IOException: No space left on device": (1, "error"),
        "java.lang.IllegalStateException: nobody logged this": (1, "error"),
    }


def test_a_chain_of_tracebacks_is_one_error_and_so_is_one_inside_a_json_line(monitor: Monitor) -> None:
    played = well("local")
    frames = ("Traceback (most recent call last):", '  File "/app/x.py", line 9, in turn', "    self.take()")
    link = "The above exception was the direct cause of the following exception:"
    inner = "Traceback (most recent call last):\n  File x\nOSError: [Errno 28] No space left on device"
    line = {"at": ago(60), "level": "critical", "stage": "sink", "message": "the commit failed", "traceback": inner}
    chain = (*frames, "ConnectionResetError: peer is gone", "", link, "", *frames, "Unavailable: no broker answers")
    played.log("sink", stamped(*chain, json.dumps(line)))
    assert messages(monitor, played, "--stage", "sink") == {
        "Unavailable: no broker answers; caused by ConnectionResetError: peer is gone": (1, "error"),
        "the commit failed; caused by OSError: [Errno 28] No space left on device": (1, "fatal"),
    }


def test_many_errors_are_critical_and_some_a_warning_by_the_minute(monitor: Monitor) -> None:
    played = well("local")
    played.log("sink", stamped(*MIXED * 8))
    assert monitor.json(played, "logs", "--stage", "sink").code == 1
    assert monitor.json(None, "logs", "--stage", "sink", "--errors-critical", "3").code == 2


def test_logs_before_the_last_restart_and_a_pod_that_was_never_restarted_is_no_trouble(monitor: Monitor) -> None:
    played = well("local")
    played.log("score", stamped(*MIXED), previous=True)
    for pod in played.all_of("Pod"):
        space, name, container = (
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
            pod["spec"]["containers"][0]["name"],
        )
        for each in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"][1:]):
            played.refuse(
                f"{space}/logs.{name}.{each['name']}.previous",
                1,
                'previous terminated container "x" in pod "y" not found',
            )
        if name != "score-0":
            output = (
                f'Error from server (BadRequest): previous terminated container "{container}" in pod "{name}" not found'
            )
            played.refuse(f"{space}/logs.{name}.{container}.previous", 1, output)
    look = monitor.json(played, "logs", "--previous", "--since", "1h")
    assert look.code == 0
    assert "it has not been restarted" in look.text("logs", "NoPrevious")
    assert "4 errors" in look.text("logs", "Rate")


def test_logs_that_may_not_be_read_or_of_what_is_not_there_cannot_be_told_from(monitor: Monitor) -> None:
    played = well("local")
    played.refuse(
        "quantstream/logs.score-0.stage",
        1,
        'Error from server (Forbidden): pods "score-0" is forbidden: cannot get "pods/log"',
    )
    assert monitor.json(played, "logs", "--stage", "score").troubles == {("unknown", "logs", "score-0", "Forbidden")}
    assert monitor.json(None, "logs", "--stage", "nothing").troubles == {("unknown", "logs", "nothing", "Nothing")}


def test_escape_sequences_in_a_log_do_not_reach_the_terminal(monitor: Monitor) -> None:
    played = well("local")
    played.log("sink", stamped('{"level": "error", "message": "evil \033[2J\007"}', "ERROR also \033]0;x\007 evil"))
    look = monitor(played, "logs", "--stage", "sink", "--since", "1h")
    assert "evil" in look.out
    assert not {"\033", "\007"} & set(look.out)


def test_warnings_of_kubernetes_the_most_frequent_first_old_ones_left_out(monitor: Monitor) -> None:
    played = well("local")
    played.objects += [
        event("BackOff", "score-0", 42, 2 * MINUTE, "Back-off restarting failed container"),  # type: ignore[list-item]
        event("FailedScheduling", "sink-0", 5, 5 * MINUTE, "unbound immediate PersistentVolumeClaims"),  # type: ignore[list-item]
        event("Evicted", "sink-0", 5, 500 * MINUTE, "long ago"),  # type: ignore[list-item]
    ]
    look = monitor.json(played, "events", "--since", "30m")
    assert (look.code, look.text("events", "Warned")) == (1, "47 warnings since then")
    assert [(one["count"], one["reason"], one["object"]) for one in look.output["events"]] == [
        (42, "BackOff", "pod/score-0"),
        (5, "FailedScheduling", "pod/sink-0"),
    ]
    assert any("field-selector type!=Normal" in call for call in monitor.calls)


def test_no_events_is_fine_and_events_that_cannot_be_read_are_not(monitor: Monitor) -> None:
    assert monitor.json(well("local"), "events").code == 0
    (monitor.scene / "quantstream" / "events").write_text("garbage {")
    assert monitor.json(None, "events").troubles == {("unknown", "events", "events", "Malformed")}


def test_usage_against_limits(monitor: Monitor) -> None:
    monitor(well("local"), "top")
    top = monitor.scene / "quantstream" / "top"
    top.write_text("score-0   stage   412m   2300Mi\n")
    look = monitor.json(None, "top", "-n", "quantstream")
    assert look.troubles == {("warning", "memory", "score-0", "NearLimit")}
    (row,) = look.output["usage"]
    assert (row["pod"], row["memory_mib"], row["memory_limit_mib"]) == ("score-0", 2300, 2560)
    top.write_text("W1122 something odd happened here\n")
    assert monitor.json(None, "top", "-n", "quantstream").code == 3
    (monitor.scene / "quantstream" / "top.fail").write_text("1\nerror: Metrics API not available\n")
    assert "install metrics-server" in monitor.json(None, "top", "-n", "quantstream").text("top", "NoMetrics")


def test_watch_prints_what_is_new_and_what_is_over(monitor: Monitor) -> None:
    played = well("local")
    monitor(played, "health")
    after = (monitor.scene / "quantstream" / "pods").read_text()
    not_ready(played.pod("score"), 10 * MINUTE)
    played.texts["quantstream/pods.next"] = after
    look = monitor(
        played, "watch", "--interval", "1", "--count", "2", "--skip", "rollouts,volumes,metrics,nodes,operators,jobs"
    )
    output = look.out.splitlines()
    assert any(" new " in line and "NotReady" in line for line in output)
    assert any(" over " in line and "NotReady" in line for line in output)


def test_the_report_is_markdown_with_every_part_and_each_verb_says_json(monitor: Monitor) -> None:
    played = well("local")
    ended(played.pod("score"), "OOMKilled", 137, 5 * MINUTE, 2)
    played.objects.append(event("BackOff", "score-0", 42, 2 * MINUTE, "Back-off"))  # type: ignore[arg-type]
    report = monitor(played, "report")
    assert report.code == 2
    assert report.out.startswith("# QuantStream, namespace quantstream")
    assert report.out.splitlines()[0].endswith(": critical")
    assert "| **critical** | pod | `score-0` | OOMKilled |" in report.out
    for part in ("## Findings", "## Messages", "## Rates", "## Events", "## Usage", "infra/RUNBOOK.md"):
        assert part in report.out
    for verb in ("events", "top", "report"):
        output = monitor.json(None, verb).output
        assert output["verb"] == verb
        assert output["findings"]


def test_a_thousand_pods_are_judged_in_one_look_and_only_some_are_asked(monitor: Monitor) -> None:
    played = well("local")
    for number in range(986):
        played.another(STAGES[number % len(STAGES)], f"more-{number:05}")
    waiting(played.of("Pod", "more-00985"), "CrashLoopBackOff", "back-off", 7)
    look = monitor.json(played, "health", "--max-pods", "10", "--skip", "volumes")
    assert look.text("pods", "Seen") == "999 of 1000 are ready"
    assert ("critical", "pod", "more-00985", "CrashLoopBackOff") in look.troubles
    assert "only 10 pods" in look.text("metrics", "NotAsked")
    assert sum("proxy/metrics" in call for call in monitor.calls) <= 12


def test_a_hundred_sick_pods_do_not_flood_the_terminal_and_json_has_them_all(monitor: Monitor) -> None:
    played = well("local")
    for number in range(100):
        waiting(played.another("score", f"sick-{number:03}"), "CrashLoopBackOff", "back-off", 7)
    skip = ("--skip", "rollouts,volumes,metrics,nodes,operators,jobs")
    look = monitor(played, "health", *skip)
    assert len(look.out.splitlines()) < 80
    assert "more; --json gives all" in look.out
    assert len(monitor.json(None, "health", *skip).troubles) == 100


WRONG = (
    "",
    "heal",
    "health --nope",
    "health --nope 3",
    "health extra",
    "health --since soon",
    "health --lag-warning many",
    "health --skip everything",
    "health --thresholds /nowhere",
    "health --max-pods 0",
    "health -n Bad_Name",
    "health --expect A;B",
    "logs --since",
)


def test_wrong_usage_is_one_sentence_and_never_looks_fine(monitor: Monitor) -> None:
    monitor(well("local"), "--help")
    for wrong in WRONG:
        look = monitor(None, wrong)
        assert (look.code, look.out) == (3, ""), wrong
        assert look.err.startswith("quantstream-monitor: ")
        assert look.err.count("\n") == 1


def test_a_threshold_file_is_taken_and_one_with_an_unknown_name_or_no_number_is_refused(monitor: Monitor) -> None:
    played = well("local")
    played.metric("quantstream_sink_lag_records", 20000.0)
    assert ("warning", "lag", "sink", "Behind") in monitor.json(played, "health").troubles
    limits = monitor.scene / "limits"
    limits.write_text("# ours\nlag-warning = 30000\nlag-critical = 40000 # high\n")
    assert monitor.json(None, "health", "--thresholds", str(limits)).code == 0
    for wrong in ("lag-waning = 3", "lag-warning: 3"):
        limits.write_text(f"{wrong}\n")
        assert monitor(None, "health", "--thresholds", str(limits)).code == 3


def test_without_kubectl_it_says_what_to_do(monitor: Monitor, plain_tools: object, tmp_path: object) -> None:
    from pathlib import Path

    folder = tools(Path(str(tmp_path)) / "less")
    (folder / "kubectl").unlink()
    look = Monitor(folder, monitor.scene)(well("local"), "health")
    assert (look.code, "kubectl is not installed" in look.err) == (3, True)


def test_help_names_every_verb_every_threshold_every_check_and_the_exit_codes(monitor: Monitor) -> None:
    look = monitor(well("local"), "--help")
    assert look.code == 0
    words = "health logs events top watch report --local --since --previous --json restarts-warning fatals-warning"
    for word in [*words.split(), "Exit codes", "NO_COLOR", "airflow-scheduler", "operators"]:
        assert word in look.out


def test_nothing_is_coloured_into_a_pipe_and_no_temporary_file_stays_behind(monitor: Monitor) -> None:
    monitor.scene.mkdir(parents=True)
    folder = monitor.scene.parent / "tmp"
    folder.mkdir()
    look = monitor(well("local"), "health", environment={"TMPDIR": str(folder)})
    assert "\033" not in look.out
    assert list(folder.iterdir()) == []
