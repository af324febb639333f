# Reads one token a line, of DOCS documents one behind the other, and calls leaf(path, value) for each value and item_end(n)
# behind each element of `items`; ends with 9 when the text is no JSON or stops in the middle. Parts of a path are joined by |.
function broken() { if (!bad) bad = 1; exit 9 }
function text_of(t) {
  if (substr(t, 1, 1) != "\"") { if (t !~ /^(true|false|null|-?[0-9][0-9.eE+-]*)$/) broken(); return t }
  if (length(t) < 2 || substr(t, length(t)) != "\"") broken()
  t = substr(t, 2, length(t) - 2)
  if (index(t, "\\")) {
    gsub(/\\[nrt]/, " ", t); gsub(/\\u003c/, "<", t); gsub(/\\u003e/, ">", t); gsub(/\\u0026/, "\\&", t); gsub(/\\"/, "\"", t); gsub(/\\\\/, "\\", t) }
  return t }
function value_done() { after[depth] = 1; if (!depth) seen++ }
function open_one(kind) {
  if (depth ? after[depth] || (type[depth] == "{" && !has_key) : seen >= (DOCS ? DOCS : 1)) broken()
  if (depth && type[depth] == "[") key[depth] = n[depth]++
  depth++; type[depth] = kind; n[depth] = 0; after[depth] = 0; has_key = 0; comma[depth] = 0
  prefix[depth] = depth > 1 ? prefix[depth - 1] key[depth - 1] "|" : "" }
function close_one(kind) {
  if (!depth || type[depth] != kind || has_key || (comma[depth] && !after[depth])) broken()
  depth--; value_done()
  if (depth == 2 && type[2] == "[" && key[1] == "items") item_end(key[2]) }
bad { next }
$0 == "{" || $0 == "[" { open_one($0); if (depth == 2 && key[1] == "items") has_items++; next }
$0 == "}" { close_one("{"); next }
$0 == "]" { close_one("["); next }
$0 == ":" { if (type[depth] != "{" || !has_text || has_key) broken(); key[depth] = held; has_key = 1; has_text = 0; next }
$0 == "," { if (!depth || !after[depth]) broken(); after[depth] = 0; comma[depth] = 1; next }
{ if (!depth || after[depth] || has_text) broken()
  if (type[depth] == "{" && !has_key) { if (substr($0, 1, 1) != "\"") broken(); held = text_of($0); has_text = 1; next }
  if (type[depth] == "[") key[depth] = n[depth]++
  value = text_of($0); has_key = 0; value_done()
  if (value != "null" || substr($0, 1, 1) == "\"") leaf(prefix[depth] key[depth], value) }
END { if (bad || depth || has_text || seen != (DOCS ? DOCS : 1)) exit 9; if (!skip_end) done() }
