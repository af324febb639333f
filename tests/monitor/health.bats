#!/usr/bin/env bats
# `health` in situations as clusters have them. No situation may be silent or look fine when it is not.
bats_require_minimum_version 1.5.0
load scene

setup_file() { tools_only; }
setup() { scene; }

@test "a healthy cluster is fine, and every check says so" {
  monitor health
  says ok pods '5 of 5 are ready'
  says ok rollouts 'all 6 are complete'
  says ok volume lake '25 % of 20480 MiB is used'
  says ok lag score '0 records behind'
  says ok candles 'the oldest last candle of 2 symbols'
  says ok feed 'clock moves'
  says FINE
}

@test "a pod that has not been ready for long is critical" {
  pods ingest aggregate detect sink score-notready
  EXPECTED=2 monitor health
  says critical pod score-6b7f5d8c94-m3j6c NotReady '10 min'
  says '4 of 5 are ready'
}

@test "OOMKilled is named, with the limit and the time" {
  pods ingest aggregate detect sink score-oomkilled
  EXPECTED=2 monitor health
  says critical OOMKilled 'container score' 'limit of 2Gi' '5 min ago' '2 restarts'
}

@test "OOMKilled days ago, stable since, is mentioned but not alarmed about" {
  pods ingest aggregate detect sink score-oomkilled-days-ago
  monitor health
  says ok OOMKilled '2 days ago'
}

@test "CrashLoopBackOff is critical and says how it ended before" {
  pods ingest aggregate detect sink score-crashloop
  EXPECTED=2 monitor health
  says critical CrashLoopBackOff '7 restarts' 'Error (exit 1) 2 min ago'
}

@test "an init container that crashes is critical" {
  pods ingest aggregate-init-crashloop detect sink score
  EXPECTED=2 monitor health
  says critical CrashLoopBackOff wait-for-kafka '6 restarts'
}

@test "an image that cannot be pulled is critical and named" {
  pods ingest aggregate detect sink score score-imagepull
  EXPECTED=2 monitor health
  says critical ImagePullBackOff 'quantstream/scoring:0.1.1' 'not found'
}

@test "a secret that is not there is critical and named" {
  pods ingest aggregate detect-config-error sink score
  EXPECTED=2 monitor health
  says critical CreateContainerConfigError 'secret "kafka-detect" not found'
}

@test "a pod that waits for its volume says why, and so does the claim" {
  pods ingest aggregate detect sink-pending score
  claims lake-pending
  EXPECTED=2 monitor health
  says critical pod Unschedulable 'unbound immediate PersistentVolumeClaims' '30 min'
  says critical volume lake Pending 'of class fast' '30 min'
}

@test "a claim that lost its volume is critical" {
  claims lake-lost
  EXPECTED=2 monitor health
  says critical volume lake Lost
}

@test "an evicted pod is a warning even when its successor runs" {
  pods ingest aggregate detect sink sink-evicted score
  EXPECTED=1 monitor health
  says warning Evicted 'ephemeral-storage'
  says '5 of 5 are ready, 1 evicted'
}

@test "a pod of a lost node is critical" {
  pods ingest-nodelost aggregate detect sink score
  EXPECTED=2 monitor health
  says critical NodeLost node-a
}

@test "a pod that never ends is a warning" {
  pods ingest aggregate detect sink score score-terminating
  EXPECTED=1 monitor health
  says warning Terminating '10 min'
}

@test "a rollout in the middle is a warning with its numbers" {
  pods ingest aggregate detect sink score score-creating
  rollouts ingest aggregate detect sink score-midway postgres
  EXPECTED=1 monitor health
  says warning rollout deployment/score RollingOut '1 of 3 updated'
  says warning pod score-6b7f5d8c94-n3w0p Pending 'ContainerCreating'
}

@test "a stuck rollout is critical" {
  rollouts ingest aggregate detect sink score-stuck postgres
  EXPECTED=2 monitor health
  says critical deployment/score Stuck 'timed out progressing'
}

@test "a deployment of which nothing is available is critical" {
  rollouts ingest aggregate detect sink score-unavailable postgres
  EXPECTED=2 monitor health
  says critical deployment/score Unavailable 'none of 1'
}

@test "a stateful set of which nothing is ready is critical" {
  rollouts ingest aggregate detect sink score postgres-down
  EXPECTED=2 monitor health
  says critical statefulset/postgres Unavailable
}

@test "a change nobody has taken up, and a paused rollout, are warnings" {
  rollouts ingest aggregate detect sink score-unobserved postgres
  EXPECTED=1 monitor health
  says warning deployment/score NotSeen
  rollouts ingest aggregate detect sink score-paused postgres
  EXPECTED=1 monitor health
  says warning deployment/score Paused '1 of 3'
}

@test "a stage without any pod is critical" {
  pods ingest aggregate detect sink
  EXPECTED=2 monitor health
  says critical stage score Missing
}

@test "a volume that is nearly full is critical; another namespace's is nobody's business" {
  cp "$RECORDED/stats-full.json" "$SCENE/stats"
  EXPECTED=2 monitor health
  says critical volume lake '96 %'
  says_not volume data
}

@test "an empty namespace is critical, never fine" {
  pods
  rollouts
  claims
  EXPECTED=2 monitor health
  says critical pods Nothing 'there are no pods in namespace quantstream'
  says critical rollouts Nothing
  says 'cannot tell' metrics 'no stage runs'
}

@test "an API server that does not answer: cannot tell, and which question" {
  for question in pods deployments,statefulsets persistentvolumeclaims; do
    refuse "$question" 1 'Unable to connect to the server: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)'
  done
  EXPECTED=3 monitor health
  says 'cannot tell' pods Timeout 'no answer about pods within 10 s'
  says 'cannot tell' rollouts Timeout
  says 'cannot tell' volumes Timeout
  says 'cannot tell' metrics 'without a list of pods'
}

@test "a kubectl that hangs is ended, and that cannot be told" {
  refuse pods hang ''
  EXPECTED=3 monitor health --timeout 1 --skip rollouts,volumes,metrics
  says 'cannot tell' pods Timeout 'within 1 s'
}

@test "a cluster that refuses the connection: cannot tell" {
  refuse pods 1 'The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?'
  EXPECTED=3 monitor health
  says 'cannot tell' pods 'the cluster does not answer'
}

@test "forbidden is said, with what to grant, and is not fine" {
  forbid deployments,statefulsets deployments.apps
  EXPECTED=3 monitor health
  says 'cannot tell' rollouts Forbidden 'cannot list resource "deployments.apps"'
}

@test "stats that may not be read: the fill of volumes cannot be told, once, not once a node" {
  refuse stats 1 'Error from server (Forbidden): nodes "node-b" is forbidden: User "jane" cannot get resource "nodes/proxy" in API group "" at the cluster scope'
  EXPECTED=3 monitor health
  says 'cannot tell' volumes Forbidden 'nodes/proxy'
  [ "$(grep -c Forbidden <<<"$output")" -eq 1 ]
}

@test "what is left out is said to be left out" {
  refuse stats 1 'Error from server (Forbidden): nodes "node-b" is forbidden'
  monitor health --skip volumes
  says ok volumes LeftOut
}

@test "an answer that stops in the middle cannot be told from" {
  head -c 3000 "$SCENE/pods" >"$SCENE/cut" && mv "$SCENE/cut" "$SCENE/pods"
  EXPECTED=3 monitor health
  says 'cannot tell' pods Malformed
}

@test "an answer that is no JSON, an error page, or nothing at all cannot be told from" {
  for answer in '<html><body>502 Bad Gateway</body></html>' '{"kind": "Status", "status": "Failure", "code": 500}' '{"items": "none"}' '{}' '[]' '{"items": [}' '{"items": [] "kind": "List"}' ''; do
    printf '%s' "$answer" >"$SCENE/pods"
    EXPECTED=3 monitor health --skip rollouts,volumes
    says 'cannot tell' pods
  done
}

@test "malformed answers about rollouts and claims cannot be told from" {
  echo '{"items": [{"kind": "Deployment", "metadata": {' >"$SCENE/deployments,statefulsets"
  echo 'upstream connect error' >"$SCENE/persistentvolumeclaims"
  EXPECTED=3 monitor health
  says 'cannot tell' rollouts Malformed
  says 'cannot tell' volumes Malformed
}

@test "a stage that does not give its metrics cannot be told from; the others are judged" {
  refuse metrics.score 1 'Error from server (ServiceUnavailable): the server is currently unable to handle the request'
  EXPECTED=3 monitor health
  says 'cannot tell' metrics score-6b7f5d8c94-m3j6c 'unable to handle'
  says ok lag sink
}

@test "metrics that are somebody else's are no numbers" {
  echo '<html>welcome</html>' >"$SCENE/metrics.sink"
  EXPECTED=3 monitor health
  says 'cannot tell' metrics sink-84c6b5d9f7-b8r2v 'no numbers of sink'
}

@test "lag beyond the thresholds, given as flag or in a file" {
  metric sink lag_records 20000.0
  EXPECTED=1 monitor health
  says warning lag sink '20000 records'
  EXPECTED=2 monitor health --lag-critical 15000
  says critical lag sink
  printf '# ours\nlag-warning = 30000\nlag-critical = 40000 # high\n' >"$BATS_TEST_TMPDIR/limits"
  monitor health --thresholds "$BATS_TEST_TMPDIR/limits"
  says ok lag sink
}

@test "records that do not add up are critical" {
  echo 'quantstream_sink_unbalanced_symbols 0.0' >>"$SCENE/metrics.sink"
  monitor health
  metric sink unbalanced_symbols 2.0
  EXPECTED=2 monitor health
  says critical balance sink '2 symbols do not add up'
}

@test "candles that are old by the market's clock are critical" {
  metric aggregate 'candle_closed_at_seconds{symbol="ETHUSDT"}' 1.7953900e+09
  EXPECTED=2 monitor health
  says critical candles ETHUSDT '82 min ago'
}

@test "an aggregate that has closed nothing yet is a warning" {
  sed -i '/^quantstream_aggregate_candle_closed_at_seconds{/d' "$SCENE/metrics.aggregate"
  EXPECTED=1 monitor health
  says warning candles NoneYet
}

@test "a feed that stands still is critical" {
  EXPECTED=2 STILL=yes monitor health --feed-seconds 1
  says critical feed Stalled
}

@test "open gaps are a warning" {
  metric ingest open_gaps 2.0
  EXPECTED=1 monitor health
  says warning gaps '2 id gaps are open'
}

@test "a scorer without a champion is critical" {
  sed -i '/^quantstream_score_model_version{/d' "$SCENE/metrics.score"
  EXPECTED=2 monitor health
  says critical models score 'nothing is scored'
}

@test "what is critical outweighs what cannot be told, and that outweighs a warning" {
  forbid deployments,statefulsets deployments.apps
  pods ingest aggregate detect sink sink-evicted score
  EXPECTED=3 monitor health
  pods ingest aggregate detect sink sink-evicted score-crashloop
  EXPECTED=2 monitor health
}

@test "JSON carries every finding" {
  pods ingest aggregate detect sink score-oomkilled
  EXPECTED=2 monitor health --json
  python3 - "$output" <<'P'
import json, sys
said = json.loads(sys.argv[1])
assert (said["verb"], said["status"], said["exit"], said["at"]) == ("health", "critical", 2, "2026-11-22T18:00:00Z"), said
first = said["findings"][0]
assert (first["severity"], first["check"], first["reason"]) == ("critical", "pod", "OOMKilled"), first
assert {"pods", "rollouts", "volumes", "lag", "candles", "feed"} <= {one["check"] for one in said["findings"]}
P
}

@test "nothing but reading is ever asked of the cluster" {
  pods ingest aggregate detect sink score-crashloop
  for verb in health logs 'logs --previous' events top report 'watch --count 1'; do
    # shellcheck disable=SC2086
    PATH=$BATS_FILE_TMPDIR/tools run "$BATS_FILE_TMPDIR/tools/bash" "$MONITOR" $verb --now "$NOW"
  done
  [ "$(wc -l <"$SCENE/calls")" -gt 40 ]
  run -1 grep -vE '^(get|logs|top) ' "$SCENE/calls"
  run -1 grep -vE -- '--request-timeout=10s' "$SCENE/calls"
  run -1 grep -E '^get (pods|events|deployments|persistentvolumeclaims).*' <(grep -v -- '--chunk-size=500' "$SCENE/calls")
}

@test "selector, context and kubeconfig reach kubectl" {
  monitor health --selector tier=live --context prod --kubeconfig /k -n quantstream
  grep -q -- '--context prod --kubeconfig /k .*get\|get --context prod --kubeconfig /k' "$SCENE/calls"
  grep -q -- 'pods --namespace quantstream --selector tier=live' "$SCENE/calls"
}
