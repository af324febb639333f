# A log's rates and messages: JSON lines (ours, Airflow's) and plain ones (Kafka's, klog's, Python's and Java's traces).
# With STAMPED each line begins with kubectl's time of it. Facts:
# R stage lines errors warnings fatals seconds-covered, G count stage level sample
BEGIN { FS = "\n"; EXCEPTION = "^[A-Za-z_$][A-Za-z0-9_$]*[.][A-Za-z0-9_$.]*(Exception|Error|Throwable)(:.*)?$" }
function field(line, names,   v) {
  if (!match(line, "\"(" names ")\" *: *\"([^\"\\\\]|\\\\.)*\"")) return ""
  v = substr(line, RSTART, RLENGTH); sub(/^"[^"]*" *: *"/, "", v); sub(/"$/, "", v)
  gsub(/\\"/, "\"", v); return v }
function spoken(v) { gsub(/\\[nrt]/, " ", v); gsub(/\\\\/, "\\", v); return v }
function rank(word) { word = tolower(word)
  if (word ~ /^(critical|fatal|panic|emerg|alert)$/) return "fatal"
  if (word ~ /^(error|severe|exception)$/) return "error"
  return word ~ /^(warn|warning)$/ ? "warning" : "other" }
function plain_level(line,   head) {
  if (line ~ /^F[0-9][0-9][0-9][0-9] /) return "fatal"
  if (line ~ /^E[0-9][0-9][0-9][0-9] /) return "error"
  if (line ~ /^W[0-9][0-9][0-9][0-9] /) return "warning"
  if (line ~ EXCEPTION || line ~ /^ *Caused by: /) return "error"
  head = " " tolower(substr(line, 1, 70)) " "
  if (head ~ /[^a-z](critical|fatal|panic)[^a-z]/) return "fatal"
  if (head ~ /[^a-z](error|severe|uncaught exception|exception in thread)[^a-z]/) return "error"
  return head ~ /[^a-z](warn|warning)[^a-z]/ ? "warning" : "other" }
function alike(text) {
  gsub(/0x[0-9a-fA-F]+/, "#", text); gsub(/[A-Z0-9]+(USDT|USDC|FDUSD|BUSD|BTC|EUR)/, "SYMBOL", text)
  gsub(/[0-9]+/, "#", text); gsub(/#[-.:,T+a-f#]*#/, "#", text); return text }
# What is told is counted once its trace, which stands behind it, has been read: the last cause says most.
function tell(level, text) { count(); told = text; told_level = level; thrown = cause = "" }
function count(   like, text) {
  if (told_level == "") return
  text = told (thrown != "" && !index(told, thrown) ? ": " thrown : "") (cause != "" && !index(told, cause) ? "; caused by " cause : "")
  sub(/^\[?[0-9]+[-\/][0-9]+[-\/][0-9]+[T ][0-9:.,]+(Z|[-+][0-9:]+)?\]? */, "", text)
  if (told_level == "fatal") fatals++
  if (told_level == "fatal" || told_level == "error") errors++; else if (told_level == "warning") warnings++
  if (told_level != "other") {
    like = told_level SUBSEP alike(text); if (!(like in times)) sample[like] = text
    times[like]++ }
  told_level = "" }
# Java: the exception stands below what was logged, its frames and causes below that.
function is_java_trace(line) {
  if (line ~ /^ +(at [^ ]+\(.*\)|\.\.\. [0-9]+ (more|common frames omitted))/) return 1
  if (line ~ /^ *Suppressed: /) return 1
  if (told_level == "" || told_level == "other") return 0
  if (line ~ /^ *Caused by: /) { sub(/^ *Caused by: /, "", line); cause = line; return 1 }
  if (line ~ EXCEPTION) { if (thrown == "") thrown = line; return 1 }
  return 0 }
# Python: the error stands below its frames, and the cause before what it led to.
function python_error(line) {
  if (linked && told_level == "error") { first = cause == "" ? told : cause; tell_again(line, first) }
  else tell("error", line)
  linked = 0 }
function tell_again(line, first) { told = line; cause = first }
function last_line(trace,   lines, n) {  # of a trace inside a JSON line
  n = split(trace, lines, /\\n/); while (n > 1 && lines[n] ~ /^ *$/) n--
  return lines[n] }
function root_of(trace,   at) {
  at = 0; while (match(substr(trace, at + 1), /Caused by: /)) at += RSTART + RLENGTH - 1
  if (at) { trace = substr(trace, at + 1); sub(/\\n.*/, "", trace); return trace }
  return last_line(trace) }
STAMPED { at = epoch(substr($0, 1, 19)); if (at > 0) { if (!begun) begun = at; sub(/^[^ ]+ ?/, "") } }
{ gsub(/[[:cntrl:]]/, " ") }
length($0) > 8000 { $0 = substr($0, 1, 8000) }
since > 0 && match($0, /[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9]/) && RSTART < 60 {
  at = epoch(substr($0, RSTART, 19)) + (substr($0, 1, 1) == "{" ? 0 : offset); if (!begun) begun = at; recent = at >= since }
since > 0 && !recent { next }
/^ *$/ { next }
{ lines++ }
/^ *\{/ {
  in_trace = 0; text = spoken(field($0, "message|msg|event")); level = rank(field($0, "level|severity|levelname")); reason = spoken(field($0, "reason"))
  tell(level, (text == "" ? $0 : text) (reason == "" || index(text, reason) ? "" : ": " reason))
  trace = field($0, "traceback|exc_info|exception|stack_trace|error_detail"); if (trace != "") cause = spoken(root_of(trace)); next }
/^Traceback \(most recent call last\)/ { in_trace = 1; next }
in_trace && /^[ \t]/ { next }
in_trace { in_trace = 0; python_error($0); next }
/^(During handling of the above exception|The above exception was the direct cause)/ { linked = 1; next }
is_java_trace($0) { next }
/\[task\.(stderr|stdout)\]/ { sub(/^[^ ]+ \[[a-z ]+\] */, ""); tell(plain_level($0), $0); next }  # a library wrote it; Airflow calls all of stderr an error
{ tell(plain_level($0), $0) }
END {
  if (in_trace) tell("error", "a traceback that stops in the middle")
  count(); OFS = "\t"; print "R", stage, lines + 0, errors + 0, warnings + 0, fatals + 0, (begun ? now - begun : -1)
  for (like in times) { split(like, part, SUBSEP); print "G", times[like], stage, part[1], clean(sample[like]) } }
