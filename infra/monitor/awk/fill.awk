# How full volumes are, as each kubelet says, or Prometheus of all of them. Facts: U namespace claim percent
function leaf(path, value) {
  if (path ~ /^data\|result\|/) { split(path, part, "|"); of[part[3], part[4] == "value" ? "value" part[5] : part[5]] = value; results = part[3] > results ? part[3] + 0 : results; return }
  if (path !~ /^pods\|[0-9]+\|volume\|[0-9]+\|/) return
  split(path, part, "|"); v = part[2] "|" part[4]
  if (path ~ /\|pvcRef\|name$/) claim[v] = value
  if (path ~ /\|pvcRef\|namespace$/) space[v] = value
  if (path ~ /\|volume\|[0-9]+\|(capacityBytes|usedBytes|inodes|inodesUsed)$/) num[v, part[5]] = value }
function item_end(i) {}
function take_results(   i, v, field) {
  for (i = 0; i <= results; i++) if ((i, "persistentvolumeclaim") in of) {
    v = of[i, "namespace"] "|" of[i, "persistentvolumeclaim"]; space[v] = of[i, "namespace"]; claim[v] = of[i, "persistentvolumeclaim"]
    field = of[i, "__name__"]; sub(/^kubelet_volume_stats_/, "", field)
    num[v, field == "used_bytes" ? "usedBytes" : field == "capacity_bytes" ? "capacityBytes" : field == "inodes_used" ? "inodesUsed" : field] = of[i, "value1"] + 0 } }
function done(   v, percent, files) {
  take_results()
  for (v in claim) if (index(" " NAMESPACES " ", " " space[v] " ") && num[v, "capacityBytes"] > 0) {
    percent = 100 * num[v, "usedBytes"] / num[v, "capacityBytes"]; files = num[v, "inodes"] > 0 ? 100 * num[v, "inodesUsed"] / num[v, "inodes"] : 0
    print "U", space[v], claim[v], int(percent + 0.5)
    finding(worst_of(percent, "volume-warning", "volume-critical"), "volume", (space[v] == HOME ? "" : space[v] "/") claim[v], "Fill", int(percent + 0.5) " % of " int(num[v, "capacityBytes"] / 1048576) " MiB is used")
    if (files >= limit["volume-warning"]) finding(worst_of(files, "volume-warning", "volume-critical"), "volume", (space[v] == HOME ? "" : space[v] "/") claim[v], "Files", int(files + 0.5) " % of its file entries are used") } }
