# Volume claims. Facts: C namespace claim
function visit(path, value) {}
function object(   phase, age) {
  phase = p["status|phase"]; age = age_of(p["metadata|creationTimestamp"]); found++
  if (phase == "Pending") finding(age > limit["pending-seconds"] ? "critical" : "warning", "volume", name, "Pending", "the claim has waited for a volume of " p["spec|resources|requests|storage"] " of class " (p["spec|storageClassName"] == "" ? "(default)" : p["spec|storageClassName"]) " for " span(age))
  else if (phase == "Bound") { bound++; print "C", or_dash(p["metadata|namespace"]), p["metadata|name"] }
  else finding("critical", "volume", name, phase == "" ? "NoPhase" : phase, "the claim has no volume any more") }
function all() { finding("ok", "volumes", "all", "Seen", found ? bound + 0 " of " found " claims are bound" : "there are no volume claims") }
