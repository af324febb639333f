# What says of itself how it is: nodes, Strimzi's Kafka, CloudNativePG's databases, KEDA's scaled objects. Facts: K namespace pool replicas
function visit(path, value) { if (path ~ /^status\|serverRecoveryWindow\|.*\|lastSuccessfulBackupTime$/ && epoch(value) > kept) kept = epoch(value) }
function tell(severity, reason, text) { finding(severity, check, what, reason, text); if (severity != "ok") troubled++ }
function object() {
  what = p["kind"] == "Node" ? name : place(p["metadata|namespace"]) tolower(p["kind"]) "/" p["metadata|name"]; found++
  check = p["kind"] == "Node" ? "node" : p["kind"] ~ /^Kafka/ ? "kafka" : p["kind"] ~ /^(Cluster|ObjectStore)$/ ? "database" : p["kind"] == "HorizontalPodAutoscaler" ? "autoscaler" : "scaler"
  if (p["kind"] == "Node") node()
  else if (check == "kafka") kafka()
  else if (check == "database") { if (p["kind"] == "Cluster") database(); else archive(); kept = 0 }
  else if (check == "autoscaler") autoscaler()
  else scaler() }
# A node that carries none of our pods is another's trouble, but ours may be sent there.
function node(   ready, mine) {
  ready = cond("Ready", "status"); mine = HOSTS == "*" || index(" " HOSTS " ", " " p["metadata|name"] " ")
  if (ready != "True") tell(mine ? "critical" : "warning", "NotReady", (ready == "Unknown" ? "does not answer" : "is not ready") more(cond("Ready", "message")) (mine ? "" : "; no pod of ours runs there"))
  pressure("MemoryPressure", "is short of memory"); pressure("DiskPressure", "is short of disk")
  pressure("PIDPressure", "is short of processes"); pressure("NetworkUnavailable", "has no network")
  if (p["spec|unschedulable"] == "true") tell("ok", "Cordoned", "takes no new pods") }
function pressure(type, text) { if (cond(type, "status") == "True") tell("warning", type, text more(cond(type, "message"))) }
# True once an operator has said that the newest change is as it should be; says so where it has not.
function taken_up(   ready, since) {
  ready = cond("Ready", "status")
  since = age_of(cond("Ready", "lastTransitionTime") == "" ? p["metadata|creationTimestamp"] : cond("Ready", "lastTransitionTime"))
  if (ready == "") tell(since > limit["pending-seconds"] ? "critical" : "warning", "NotSeen", "its operator has said nothing of it for " span(since))
  else if (ready != "True") tell(since > limit["not-ready-seconds"] ? "critical" : "warning", cond("Ready", "reason") == "" ? "NotReady" : cond("Ready", "reason"), "is not ready for " span(since) more(cond("Ready", "message")))
  return ready == "True" }
function kafka() {
  if (p["kind"] == "KafkaNodePool") { print "K", or_dash(p["metadata|namespace"]), p["metadata|name"], p["spec|replicas"] + 0; return }
  if (p["metadata|annotations|strimzi.io/pause-reconciliation"] == "true" || cond("ReconciliationPaused", "status") == "True") { tell("warning", "Paused", "its operator is told to leave it alone"); return }
  if (!taken_up()) return
  if ("status|observedGeneration" in p && p["status|observedGeneration"] + 0 < p["metadata|generation"] + 0) tell("warning", "NotSeen", "the newest change has not been taken up")
  if (cond("Warning", "status") == "True") tell("warning", cond("Warning", "reason") == "" ? "Warning" : cond("Warning", "reason"), cond("Warning", "message")) }
function database(   want, ready) {
  want = p["spec|instances"] + 0; ready = p["status|readyInstances"] + 0
  if (p["metadata|annotations|cnpg.io/hibernation"] == "on") { tell("critical", "Asleep", "its operator is told to keep it asleep: cnpg.io/hibernation"); return }
  if (p["metadata|annotations|cnpg.io/reconciliationLoop"] == "disabled") { tell("warning", "Paused", "its operator is told to leave it alone"); return }
  if (cond("Ready", "status") != "" && ready < want) tell(ready ? "warning" : "critical", ready ? "Degraded" : "Unavailable", ready " of " want " instances are ready" more(p["status|phase"]))
  else taken_up()
  if (cond("ContinuousArchiving", "status") == "False") tell("critical", "NotArchived", "what changes is not kept, and the disk fills" more(cond("ContinuousArchiving", "message")))
  if (cond("LastBackupSucceeded", "status") == "False") tell("warning", "BackupFailed", "its last base backup failed" more(cond("LastBackupSucceeded", "message"))) }
# Where the whole server is kept each night. As with a cron job, two nights are one too many.
function archive(   since) {
  since = now - (kept ? kept : epoch(p["metadata|creationTimestamp"]))
  if (since > 172800 + limit["pending-seconds"]) tell("critical", "Stale", kept ? "the last base backup of the server was made " span(since) " ago; one is due each night" : "no base backup of the server was made in " span(since)) }
function scaler() {
  if (cond("Paused", "status") == "True") tell("warning", "Paused", "does not scale: it is paused")
  if (!taken_up()) return
  if (cond("Fallback", "status") == "True") tell("warning", "Fallback", "cannot ask its source and keeps the number set for that" more(cond("Fallback", "message"))) }
# What KEDA makes, or stands alone: it is blind when its operator or the metrics server does not answer.
function autoscaler() {
  if (cond("ScalingActive", "status") == "False" && cond("ScalingActive", "reason") != "ScalingDisabled") tell("warning", cond("ScalingActive", "reason"), "does not scale" more(cond("ScalingActive", "message")))
  if (cond("AbleToScale", "status") == "False") tell("warning", cond("AbleToScale", "reason"), "cannot scale" more(cond("AbleToScale", "message")))
  if (cond("ScalingLimited", "reason") == "TooManyReplicas" && cond("ScalingLimited", "status") == "True") tell("ok", "AtItsMost", "wants more than the " p["spec|maxReplicas"] " that it may have") }
function all() { if (!troubled) finding("ok", CHECK, "all", found ? "Ready" : "None", found ? "all " found " are as they should be" : "there are none") }
