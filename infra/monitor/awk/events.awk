# Warnings of Kubernetes. Facts: E count seconds-ago reason object message
function visit(path, value) {}
function object(   at, n, k) {
  at = p["series|lastObservedTime"]; if (at == "") at = p["lastTimestamp"]; if (at == "") at = p["eventTime"]; if (at == "") at = p["metadata|creationTimestamp"]
  n = p["series|count"] + 0; if (!n) n = p["count"] + 0; if (!n) n = 1
  if (p["type"] != "Normal" && now - epoch(at) <= SINCE) {
    k = p["reason"] "\t" place(p["metadata|namespace"]) tolower(p["involvedObject|kind"]) "/" p["involvedObject|name"]; times[k] += n; total += n
    if (epoch(at) >= last[k]) { last[k] = epoch(at); text[k] = p["message"] } } }
function all(   k, part) {
  for (k in times) { split(k, part, "\t"); print "E", times[k], int(now - last[k]), part[1], part[2], clean(text[k]) }
  finding(worst_of(total + 0, "events-warning", "events-critical"), "events", "all", total ? "Warned" : "Quiet", plural(total + 0, "warning") " since then") }
