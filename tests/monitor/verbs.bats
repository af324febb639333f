#!/usr/bin/env bats
# logs, events, top, watch, report, and how the command line is used.
bats_require_minimum_version 1.5.0
load scene

setup_file() { tools_only; }
setup() { scene; }

@test "rates per stage, and similar messages put together" {
  monitor logs --since 10m
  says ok logs ingest '0 errors and 3 warnings in 6 lines of the last 10m'
  says 3 ingest warning 'gap still open'
  says ok logs aggregate Quiet
}

@test "tracebacks, log4j and klog lines are counted for what they are" {
  cp "$RECORDED/logs/mixed.txt" "$SCENE/logs.sink"
  monitor logs --stage sink --since 1h
  says logs sink '4 errors and 2 warnings in 15 lines'
  says 2 sink error 'ValueError: bad value 17'
  says 1 sink error 'lost broker'
  says 1 sink warning 'WARN'
  says_not error 'no errors found'
}

@test "many errors are critical, some a warning, by the minute" {
  for _ in 1 2 3 4 5 6 7 8; do cat "$RECORDED/logs/mixed.txt"; done >"$SCENE/logs.sink"
  EXPECTED=1 monitor logs --since 10m
  says warning logs sink '32 errors'
  EXPECTED=2 monitor logs --since 10m --errors-critical 3
}

@test "logs before the last restart; a pod that was never restarted is no trouble" {
  for stage in ingest aggregate detect sink; do
    refuse "logs.$stage.previous" 1 "Error from server (BadRequest): previous terminated container \"$stage\" in pod \"$stage-x\" not found"
  done
  cp "$RECORDED/logs/mixed.txt" "$SCENE/logs.score.previous"
  monitor logs --previous --since 1h
  says ok logs NoPrevious
  says logs score '4 errors'
}

@test "logs that may not be read cannot be told from" {
  refuse logs.score 1 'Error from server (Forbidden): pods "score-6b7f5d8c94-m3j6c" is forbidden: User "jane" cannot get resource "pods/log" in API group "" in the namespace "quantstream"'
  EXPECTED=3 monitor logs
  says 'cannot tell' logs score-6b7f5d8c94-m3j6c Forbidden 'pods/log'
}

@test "logs of a stage that is not there cannot be told from" {
  EXPECTED=3 monitor logs --stage nothing
  says 'cannot tell' logs 'no pod of nothing'
}

@test "escape sequences in a log do not reach the terminal" {
  printf '{"at": "2026-11-22T17:59:00.000+00:00", "level": "error", "message": "evil \033[2J\007"}\nERROR also \033]0;x\007 evil\n' >"$SCENE/logs.sink"
  monitor logs --stage sink --since 1h
  says error evil
  [[ $output != *$'\033'* && $output != *$'\007'* ]]
}

@test "warnings of Kubernetes, the most frequent first, old ones left out" {
  events backoff unhealthy scheduling long-ago
  EXPECTED=1 monitor events --since 30m
  says warning events '50 warnings'
  says 42 BackOff pod/score-6b7f5d8c94-m3j6c 'Back-off restarting'
  says 5 FailedScheduling 'unbound immediate'
  says_not Evicted
  grep -q 'field-selector type!=Normal' "$SCENE/calls"
}

@test "no events is fine; events that cannot be read are not" {
  monitor events
  says ok events '0 warnings'
  forbid events events
  EXPECTED=3 monitor events
  says 'cannot tell' events Forbidden
  rm "$SCENE/events.fail"
  echo 'garbage {' >"$SCENE/events"
  EXPECTED=3 monitor events
  says 'cannot tell' events Malformed
}

@test "usage against limits" {
  EXPECTED=1 monitor top
  says warning memory score-6b7f5d8c94-m3j6c '88 % of its limit of 2048 MiB'
  says score-6b7f5d8c94-m3j6c 412m 1800 2048 88
  EXPECTED=2 monitor top --memory-critical 87
}

@test "a cluster without metrics cannot tell its usage" {
  refuse top 1 'error: Metrics API not available'
  EXPECTED=3 monitor top
  says 'cannot tell' NoMetrics 'install metrics-server'
}

@test "usage that is no table cannot be told from" {
  echo 'W1122 something odd happened here' >"$SCENE/top"
  EXPECTED=3 monitor top
  says 'cannot tell' Malformed
}

@test "watch prints what is new and what is over" {
  pods ingest aggregate detect sink score-notready
  cp "$SCENE/pods" "$SCENE/sick"
  pods $STAGES
  mv "$SCENE/pods" "$SCENE/pods.next"
  mv "$SCENE/sick" "$SCENE/pods"
  monitor watch --interval 1 --count 2 --skip rollouts,volumes,metrics
  says new critical NotReady
  says over critical NotReady
}

@test "watch says JSON objects, one a line, and ends with the last look's code" {
  pods ingest aggregate detect sink score-notready
  EXPECTED=2 monitor watch --interval 1 --count 2 --json --skip rollouts,volumes,metrics
  [ "${#lines[@]}" -eq 2 ]
  python3 -c 'import json, sys; assert [json.loads(x)["exit"] for x in sys.argv[1:]] == [2, 2]' "${lines[@]}"
}

@test "the report is Markdown with every part" {
  pods ingest aggregate detect sink score-oomkilled
  events backoff
  EXPECTED=2 monitor report
  says '# QuantStream, namespace quantstream: critical'
  says '| **critical** | pod | `score-6b7f5d8c94-m3j6c` | OOMKilled |'
  says '| severity | check | object | reason | what |'
  for part in '## Findings' '## Messages' '## Rates' '## Events' '## Usage'; do says "$part"; done
  says infra/RUNBOOK.md
}

@test "each verb says JSON" {
  events backoff
  for verb in logs events top report; do
    PATH=$BATS_FILE_TMPDIR/tools run "$BATS_FILE_TMPDIR/tools/bash" "$MONITOR" "$verb" --json --now "$NOW"
    python3 -c 'import json, sys; said = json.loads(sys.argv[1]); assert said["verb"] == sys.argv[2] and said["findings"] and said["exit"] == int(sys.argv[3]), said' "$output" "$verb" "$status"
  done
}

@test "a thousand pods are judged in one look, a sick one among them is found, and only some are asked" {
  python3 "$HERE/thousand.py" "$RECORDED/pods" >"$SCENE/pods"
  EXPECTED=2 monitor health --max-pods 10
  says '999 of 1000 are ready'
  says critical CrashLoopBackOff score-6b7f5d8c94-00999
  says warning metrics NotAsked 'only 10 pods'
  [ "$(grep -c proxy/metrics "$SCENE/calls")" -le 12 ]
}

@test "a thousand sick pods do not flood the terminal; JSON has them all" {
  python3 "$HERE/thousand.py" "$RECORDED/pods" sick >"$SCENE/pods"
  EXPECTED=2 monitor health --skip rollouts,volumes,metrics
  [ "${#lines[@]}" -lt 80 ]
  says 'more; --json gives all'
  EXPECTED=2 monitor health --skip rollouts,volumes,metrics --json
  [ "$(grep -o CrashLoopBackOff <<<"$output" | wc -l)" -ge 1000 ]
}

@test "wrong usage is one sentence and never looks fine" {
  for wrong in '' 'heal' 'health --nope' 'health --nope 3' 'health extra' 'health --since soon' 'health --lag-warning many' 'health --skip everything' \
    'health --thresholds /nowhere' 'health --max-pods 0' 'health -n Bad_Name' 'logs --since'; do
    # shellcheck disable=SC2086
    PATH=$BATS_FILE_TMPDIR/tools run -3 --separate-stderr "$BATS_FILE_TMPDIR/tools/bash" "$MONITOR" $wrong
    [ -z "$output" ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    [[ $stderr == quantstream-monitor:* ]]
  done
}

@test "a threshold file with an unknown name or no number is refused" {
  echo 'lag-waning = 3' >"$BATS_TEST_TMPDIR/limits"
  EXPECTED=3 monitor health --thresholds "$BATS_TEST_TMPDIR/limits"
  says 'lag-waning is not a threshold'
  echo 'lag-warning: 3' >"$BATS_TEST_TMPDIR/limits"
  EXPECTED=3 monitor health --thresholds "$BATS_TEST_TMPDIR/limits"
}

@test "without kubectl it says what to do" {
  rm "$BATS_FILE_TMPDIR/tools/kubectl"
  EXPECTED=3 monitor health
  ln -sf "$HERE/bin/kubectl" "$BATS_FILE_TMPDIR/tools/kubectl"
  says 'kubectl is not installed'
}

@test "help names every verb, every threshold and the exit codes" {
  PATH=$BATS_FILE_TMPDIR/tools run -0 "$BATS_FILE_TMPDIR/tools/bash" "$MONITOR" --help
  for word in health logs events top watch report --local --since --previous --json restarts-warning candle-critical 'Exit codes' NO_COLOR; do says "$word"; done
}

@test "nothing is coloured into a pipe" {
  monitor health
  [[ $output != *$'\033'* ]]
}

@test "no temporary file stays behind" {
  mkdir "$BATS_TEST_TMPDIR/tmp"
  TMPDIR=$BATS_TEST_TMPDIR/tmp monitor health
  [ -z "$(ls -A "$BATS_TEST_TMPDIR/tmp")" ]
}
