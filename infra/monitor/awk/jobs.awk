# Jobs and cron jobs. A failed job is news for a while; of a cron job counts when it last succeeded, against how often it is due.
function visit(path, value) {}
function object(   owner) {
  if (p["kind"] == "CronJob") { cron(); return }
  if (p["kind"] != "Job") broken()
  jobs++; owner = p["metadata|ownerReferences|0|kind"] == "CronJob" ? place(p["metadata|namespace"]) p["metadata|ownerReferences|0|name"] : ""
  if (cond("Failed", "status") != "True") return
  if (owner == "") alone()
  else if (epoch(cond("Failed", "lastTransitionTime")) > failed_at[owner]) { failed_at[owner] = epoch(cond("Failed", "lastTransitionTime")); why[owner] = cond("Failed", "reason") more(cond("Failed", "message")) } }
function alone(   age) {
  age = age_of(cond("Failed", "lastTransitionTime"))
  if (age > limit["finished-seconds"]) old++
  else { finding("warning", "job", name, "Failed", "failed " span(age) " ago: " cond("Failed", "reason") more(cond("Failed", "message"))); troubled++ } }
function cron() {
  crons[++cron_count] = name; every[name] = period(p["spec|schedule"]); schedule[name] = p["spec|schedule"]; suspended[name] = p["spec|suspend"] == "true"
  made[name] = epoch(p["metadata|creationTimestamp"]); succeeded[name] = epoch(p["status|lastSuccessfulTime"]) }
function period(s,   f) {  # seconds between two runs, at most
  sub(/^(CRON_)?TZ=[^ ]+ +/, "", s)
  if (s == "@hourly") return 3600; if (s == "@weekly") return 604800; if (s == "@monthly") return 2678400; if (s ~ /^@(yearly|annually)$/) return 31622400
  if (s ~ /^@/) return 86400
  split(s, f, " ")
  if (f[4] != "*") return 31622400
  if (f[3] != "*") return f[3] ~ /^\*\/[0-9]+$/ ? substr(f[3], 3) * 86400 : 2678400
  if (f[5] != "*") return 604800
  if (f[2] != "*") return f[2] ~ /^\*\/[0-9]+$/ ? substr(f[2], 3) * 3600 : 86400
  return f[1] ~ /^\*\/[0-9]+$/ ? substr(f[1], 3) * 60 : 3600 }
function judge(name,   since) {
  since = succeeded[name] ? succeeded[name] : made[name]
  if (now - since > 2 * every[name] + limit["pending-seconds"]) {
    finding("critical", "cronjob", name, "Stale", (succeeded[name] ? "last succeeded " span(now - since) " ago" : "has never succeeded in " span(now - since)) " and is due at " schedule[name] (suspended[name] ? "; it is suspended" : "") (failed_at[name] > since ? "; it failed: " why[name] : "")); troubled++
  } else if (suspended[name]) { finding("warning", "cronjob", name, "Suspended", "is suspended: nothing of it runs"); troubled++
  } else if (failed_at[name] > since) { finding("warning", "cronjob", name, "Failed", "its last run failed " span(now - failed_at[name]) " ago: " why[name]); troubled++ } }
function all(   i) {
  for (i = 1; i <= cron_count; i++) judge(crons[i])
  if (!troubled) finding("ok", "jobs", "all", "Seen", plural(cron_count + 0, "cron job") " and " plural(jobs + 0, "job") ", none in trouble" (old ? "; " old " failed long ago" : "")) }
