# Health of this machine.
function leaf(path, value) { split(path, part, "|")
  if (part[1] == "processes") { if (!(part[2] in known)) order[++count] = part[2]; known[part[2]] = 1; s[part[2], part[3]] = value }
  if (part[1] == "models" && part[3] == "version") models++ }
function item_end(i) {}
function done(   i, name, state) {
  if (!count) { finding("critical", "processes", "all", "Nothing", "no stack was started here; run quantstream up"); return }
  for (i = 1; i <= count; i++) { name = order[i]; state = s[name, "state"]
    print "P", name, s[name, "pid"], s[name, "restarts"] + 0, s[name, "ready"]
    if (state == "" || s[name, "ready"] == "") finding("unknown", "process", name, "NoState", "quantstream status does not say how it is")
    else if (state == "starting") finding("warning", "process", name, "Starting", "is starting")
    else if (state != "running") { finding("critical", "process", name, "Down", "is " state); down++ }
    else if (s[name, "ready"] != "true") finding("critical", "process", name, "NotReady", "runs but does not say that it is ready" )
    else good++ }
  finding(good ? "ok" : "critical", "processes", "all", good ? "Seen" : "NothingRuns", good + 0 " of " count " are ready") }
