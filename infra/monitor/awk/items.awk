# Lists of objects: puts each object's fields into p, by their path in it, and calls object() for it, then all() behind the last.
# Conditions are found by their type: cond(type, field).
function leaf(path, value,   part) {
  if (path !~ /^items\|/) { if (path == "kind" && value == "Status") broken(); return }
  sub(/^items\|[0-9]+\|/, "", path); p[path] = value
  if (path ~ /^status\|conditions\|[0-9]+\|type$/) { split(path, part, "|"); condition[value] = part[3] }
  visit(path, value) }
function cond(type, field) { return (type in condition) ? p["status|conditions|" condition[type] "|" field] : "" }
function item_end(i) { name = place(p["metadata|namespace"]) p["metadata|name"]; object(); delete p; delete condition }
function place(space) { return space == "" || space == HOME ? "" : space "/" }
function done() { if (has_items != (DOCS ? DOCS : 1)) { bad = 1; exit 9 } all() }
function age_of(at) { return at == "" ? 0 : now - epoch(at) }
function more(text) { return text == "" ? "" : ": " text }
