# Deployments and stateful sets, as `kubectl rollout status` judges (kubectl/pkg/polymorphichelpers/rollout_status.go).
function visit(path, value) {}
function tell(severity, reason, text) { finding(severity, "rollout", what, reason, text); if (severity != "ok") troubled++ }
function deployment(want,   updated, have, available) {
  updated = p["status|updatedReplicas"] + 0; have = p["status|replicas"] + 0; available = p["status|availableReplicas"] + 0
  if (cond("Progressing", "reason") == "ProgressDeadlineExceeded") tell("critical", "Stuck", "the rollout is stuck with " updated " of " want " updated and " available " available: " cond("Progressing", "message"))
  else if (want > 0 && available == 0) tell("critical", "Unavailable", "none of " want " is available")
  else if (p["spec|paused"] == "true") tell("warning", "Paused", "the rollout is paused with " updated " of " want " updated")
  else if (updated < want) tell("warning", "RollingOut", updated " of " want " updated, " available " available")
  else if (have > updated) tell("warning", "RollingOut", have - updated " of the old ones still end")
  else if (available < want) tell("warning", "Degraded", available " of " want " available")
  if (cond("ReplicaFailure", "status") == "True") tell("critical", "ReplicaFailure", cond("ReplicaFailure", "message")) }
function stateful(want,   updated, ready) {
  updated = p["status|updatedReplicas"] + 0; ready = p["status|readyReplicas"] + 0
  if (want > 0 && ready == 0) tell("critical", "Unavailable", "none of " want " is ready")
  else if (p["status|updateRevision"] != p["status|currentRevision"] && updated < want) tell("warning", "RollingOut", updated " of " want " updated, " ready " ready")
  else if (ready < want) tell("warning", "Degraded", ready " of " want " ready") }
function object(   want) {
  what = tolower(p["kind"]) "/" p["metadata|name"]; want = ("spec|replicas" in p) ? p["spec|replicas"] + 0 : 1; found++
  what = place(p["metadata|namespace"]) what
  if (p["kind"] !~ /^(Deployment|StatefulSet)$/) broken()
  if (p["status|observedGeneration"] + 0 < p["metadata|generation"] + 0) tell("warning", "NotSeen", "the newest change has not been taken up")
  else if (want == 0) tell("warning", "ScaledToZero", "is scaled to none")
  else if (p["kind"] == "Deployment") deployment(want)
  else stateful(want) }
function all() {
  if (!found) finding("critical", "rollouts", "all", "Nothing", "there are no deployments and no stateful sets")
  else if (!troubled) finding("ok", "rollouts", "all", "Complete", found == 1 ? "the one there is is complete" : "all " found " are complete") }
