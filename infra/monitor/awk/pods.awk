# Pods: what ails each, and which workloads have none. Facts:
# P name part node port ready container phase namespace stage pool, V node claim, L name container memory-limit cpu-limit, C name container namespace.
function visit(path, value,   part) {
  if (path == "metadata|labels|quantstream.io/stage") stage = value
  if (path ~ /^metadata\|labels\|quantstream\.io\/needs-/ && value == "true") { sub(/.*needs-/, "", path); needs[++need_count] = path }
  if (path ~ /\|claimName$/) claims[++claim_count] = value
  if (path ~ /^status\|containerStatuses\|[0-9]+\|name$/) { split(path, part, "|"); statuses = part[3] + 1 }
  if (path ~ /^status\|initContainerStatuses\|[0-9]+\|name$/) { split(path, part, "|"); init_statuses = part[3] + 1 }
  if (path ~ /\|containerPort$/ && port == "") port = value
  if (path ~ /\|ports\|[0-9]+\|name$/ && value ~ /^(http|metrics|health)/) wanted = path
  if (path ~ /^spec\|containers\|[0-9]+\|name$/) containers++
  if (path ~ /^spec\|initContainers\|[0-9]+\|name$/) init_containers++ }
function tell(severity, reason, text) { finding(severity, "pod", name, reason, text); told++ }
function container(base,   waiting, note, ended, last, when, restarts, who, severity) {
  who = p[base "name"]; waiting = p[base "state|waiting|reason"]; restarts = p[base "restartCount"] + 0
  ended = p[base "state|terminated|reason"]; last = p[base "lastState|terminated|reason"]; when = p[base "lastState|terminated|finishedAt"]
  if (when == "") when = p[base "state|running|startedAt"]  # the kubelet has forgotten the end: the start after it is as good
  note = last == "" ? "" : "; it ended before with " last " (exit " p[base "lastState|terminated|exitCode"] ")" (when == "" ? "" : " " span(age_of(when)) " ago")
  if (waiting ~ /^(CrashLoopBackOff|ImagePullBackOff|ErrImagePull|ErrImageNeverPull|InvalidImageName|CreateContainerConfigError|CreateContainerError|RunContainerError|PostStartHookError|StartError)$/)
    tell("critical", waiting, "container " who more(p[base "state|waiting|message"]) "; " plural(restarts, "restart") note)
  else if (waiting != "" && waiting !~ /^(ContainerCreating|PodInitializing)$/) tell("warning", waiting, "container " who more(p[base "state|waiting|message"]))
  else if (ended != "" && (ended != "Completed" || base ~ /containerStatuses/ && base !~ /init/) && p["status|phase"] == "Running")
    tell("critical", ended, "container " who " ended with exit code " p[base "state|terminated|exitCode"] more(p[base "state|terminated|message"]))
  if (last == "OOMKilled") {
    severity = (when == "" || age_of(when) <= limit["window-seconds"]) ? "critical" : "ok"
    tell(severity, "OOMKilled", "container " who " went over its memory limit" (memory_of(who) == "" ? "" : " of " memory_of(who)) " " (when == "" ? "" : span(age_of(when)) " ago") "; " plural(restarts, "restart"))
  } else if (restarts >= limit["restarts-warning"] && waiting != "CrashLoopBackOff" && (when == "" || age_of(when) <= limit["window-seconds"]))
    tell(worst_of(restarts, "restarts-warning", "restarts-critical"), "Restarted", "container " who ", " plural(restarts, "restart") note) }
function memory_of(who,   i) { for (i = 0; i < containers; i++) if (p["spec|containers|" i "|name"] == who) return p["spec|containers|" i "|resources|limits|memory"]; return "" }
function ended_at(   i, at, last) {  # of a pod that has finished
  for (i = 0; i < statuses; i++) { at = p["status|containerStatuses|" i "|state|terminated|finishedAt"]; if (at > last) last = at }
  if (last == "") last = cond("Ready", "lastTransitionTime")
  return last == "" ? p["metadata|creationTimestamp"] : last }
# A pod that failed is history: its workload's state says how things are now, and a task is tried again. It counts while it is news.
function failed(   age, reason, severity) {
  age = age_of(ended_at()); reason = p["status|reason"] == "" ? "Failed" : p["status|reason"]
  if (age > limit["finished-seconds"]) { old++; return }
  severity = reason == "Evicted" || p["metadata|ownerReferences|0|kind"] == "Job" || "metadata|labels|dag_id" in p ? "warning" : "critical"
  if (reason == "Evicted") evicted++
  tell(severity, reason, (reason == "Evicted" && p["status|message"] == "" ? "the node put it out" : reason == "Evicted" ? p["status|message"] : "the pod failed" more(p["status|message"]) exit_code()) ", " span(age) " ago") }
function exit_code(   i, code) {
  for (i = 0; i < statuses; i++) { code = p["status|containerStatuses|" i "|state|terminated|exitCode"]; if (code + 0) return " with exit code " code " of " p["status|containerStatuses|" i "|name"] }
  return "" }
function judge(   i, ready, phase, since) {
  phase = p["status|phase"]; ready = cond("Ready", "status") == "True"
  if (phase == "Failed") { failed(); return }
  if (phase == "Succeeded") { succeeded++; return }
  if (phase == "") { total++; tell("unknown", "NoPhase", "its status is missing from the answer"); return }
  if (phase == "Unknown" || p["status|reason"] == "NodeLost") { total++; tell("critical", "NodeLost", "its node " p["spec|nodeName"] " does not answer" more(p["status|message"])) }
  if (p["metadata|deletionTimestamp"] != "") {
    if (!told && age_of(p["metadata|deletionTimestamp"]) > limit["pending-seconds"]) tell("warning", "Terminating", "has been ending for " span(age_of(p["metadata|deletionTimestamp"])) " beyond its grace period")
    total += !told; leaving++; return }
  total += !told; seen_part[part] = 1
  if (part == "postgres-logins") seen_part["postgres"] = 1  # where Postgres is an operator's or a managed one, this is ready as long as it answers
  for (i = 1; i <= need_count; i++) needed_by[needs[i]] = needed_by[needs[i]] (index(", " needed_by[needs[i]] ",", ", " part ",") ? "" : (needed_by[needs[i]] == "" ? "" : ", ") part)
  if (!told) living(phase, ready)
  facts(phase, ready) }
function living(phase, ready,   i, since) {
  for (i = 0; i < init_statuses; i++) container("status|initContainerStatuses|" i "|")
  for (i = 0; i < statuses; i++) container("status|containerStatuses|" i "|")
  since = age_of(phase == "Pending" ? p["metadata|creationTimestamp"] : cond("Ready", "lastTransitionTime"))
  if (phase == "Pending" && cond("PodScheduled", "status") == "False")
    tell(since > limit["pending-seconds"] ? "critical" : "warning", cond("PodScheduled", "reason") == "" ? "Pending" : cond("PodScheduled", "reason"), "waits for a node for " span(since) more(cond("PodScheduled", "message")))
  else if (phase == "Pending" && !told)
    tell(since > limit["pending-seconds"] ? "critical" : "warning", "Pending", "has not started for " span(since) starting())
  else if (phase == "Running" && !ready && !told_badly())
    tell(since > limit["not-ready-seconds"] ? "critical" : "warning", "NotReady", "runs but has not been ready for " span(since) more(cond("Ready", "message") == "" ? cond("ContainersReady", "message") : cond("Ready", "message")))
  if (ready) good++ }
function facts(phase, ready,   i, base) {
  print "P", p["metadata|name"], or_dash(part), or_dash(p["spec|nodeName"]), or_dash(port), (ready ? "ready" : "not"), or_dash(p["spec|containers|0|name"]), phase, or_dash(p["metadata|namespace"]), or_dash(stage), or_dash(p["metadata|labels|strimzi.io/pool-name"])
  for (i = 1; i <= claim_count; i++) if (p["spec|nodeName"] != "") print "V", p["spec|nodeName"], claims[i]
  for (i = 0; i < init_containers; i++) print "C", p["metadata|name"], p["spec|initContainers|" i "|name"], or_dash(p["metadata|namespace"])
  for (i = 0; i < containers; i++) { base = "spec|containers|" i "|"
    print "C", p["metadata|name"], p[base "name"], or_dash(p["metadata|namespace"])
    print "L", p["metadata|name"], p[base "name"], sprintf("%.0f", bytes(p[base "resources|limits|memory"])), p[base "resources|limits|cpu"] } }
function starting(   i, text) { for (i = 0; i < statuses; i++) if (p["status|containerStatuses|" i "|state|waiting|reason"] != "") text = text " " p["status|containerStatuses|" i "|state|waiting|reason"]; return text == "" ? "" : ":" text }
function told_badly(   i, w) { for (i = 0; i < statuses; i++) { w = p["status|containerStatuses|" i "|state|waiting|reason"]; if (w != "" || p["status|containerStatuses|" i "|state|terminated|reason"] != "") return told > 0 } return 0 }
function object() {
  if (wanted != "") { sub(/name$/, "containerPort", wanted); if (wanted in p) port = p[wanted] }
  part = "metadata|labels|cnpg.io/cluster" in p ? p["metadata|labels|cnpg.io/cluster"] : p["metadata|labels|app.kubernetes.io/name"] != "" ? p["metadata|labels|app.kubernetes.io/name"] : stage; told = 0; found++; judge()
  delete claims; delete needs; claim_count = need_count = statuses = init_statuses = containers = init_containers = 0; stage = port = wanted = "" }
function spaces(   s) { s = NAMESPACES; gsub(/ /, ", ", s); return s }
function all() {
  if (!found) finding("critical", "pods", "all", "Nothing", "there are no pods" (SELECTOR == "" ? "" : " with the labels " SELECTOR) " in namespace " spaces())
  else if (!total) finding("critical", "pods", "all", "NothingRuns", "none of the " plural(found, "pod") " runs")
  else finding("ok", "pods", "all", "Seen", good + 0 " of " total " are ready" (succeeded ? ", " succeeded " completed" : "") (leaving ? ", " leaving " are ending" : "") (evicted ? ", " evicted " evicted" : "") (old ? ", " old " failed long ago" : ""))
  if (!SKIP_STAGES) expected() }
# What must be there: what was asked for, and what the labels of those that are there say that they need.
function expected(   i, n, names, missing) {
  n = split(EXPECT, names, ",")
  for (i = 1; i <= n; i++) if (names[i] != "") missing[names[i]] = !(names[i] in seen_part)
  if (BY_LABELS) for (i in needed_by) if (i !~ /^(exchange|kubernetes|backups)$/) missing[i] = !(i in seen_part)  # those are outside of our namespaces
  for (i in missing) if (missing[i])
    finding(PARTIAL ? "unknown" : "critical", "workload", i, "Missing", (PARTIAL ? "cannot be told, for not every namespace could be read: " : "") "no pod labelled " (i == "databases" ? "cnpg.io/cluster=" : "app.kubernetes.io/name=") i " runs or starts" (i in needed_by ? "; needed by " needed_by[i] : "")) }
