# How full volumes are, as each kubelet says. Facts: U namespace claim percent
function leaf(path, value) {
  if (path !~ /^pods\|[0-9]+\|volume\|[0-9]+\|/) return
  split(path, part, "|"); v = part[2] "|" part[4]
  if (path ~ /\|pvcRef\|name$/) claim[v] = value
  if (path ~ /\|pvcRef\|namespace$/) space[v] = value
  if (path ~ /\|volume\|[0-9]+\|(capacityBytes|usedBytes|inodes|inodesUsed)$/) num[v, part[5]] = value }
function item_end(i) {}
function done(   v, percent, files) {
  for (v in claim) if (index(" " NAMESPACES " ", " " space[v] " ") && num[v, "capacityBytes"] > 0) {
    percent = 100 * num[v, "usedBytes"] / num[v, "capacityBytes"]; files = num[v, "inodes"] > 0 ? 100 * num[v, "inodesUsed"] / num[v, "inodes"] : 0
    print "U", space[v], claim[v], int(percent + 0.5)
    finding(worst_of(percent, "volume-warning", "volume-critical"), "volume", (space[v] == HOME ? "" : space[v] "/") claim[v], "Fill", int(percent + 0.5) " % of " int(num[v, "capacityBytes"] / 1048576) " MiB is used")
    if (files >= limit["volume-warning"]) finding(worst_of(files, "volume-warning", "volume-critical"), "volume", (space[v] == HOME ? "" : space[v] "/") claim[v], "Files", int(files + 0.5) " % of its file entries are used") } }
