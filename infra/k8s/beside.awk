# Rights and topics for a second system on the same broker: of each topic and each right a second one with `prefix` before its name.
# Reads what kustomize writes, where an entry of `acls` begins with "    - operations:" and holds one resource.
function flush_document(  i) {
  printf "%s", document
  if (kind == "KafkaTopic") printf "---\n%s", twin
  document = twin = kind = ""
}
function flush_right() {
  document = document right prefixed
  right = prefixed = ""
}
/^---$/ { flush_right(); flush_document(); print; next }
/^kind: / { kind = $2 }
kind == "KafkaUser" && /^    - operations:/ { flush_right(); right = prefixed = $0 "\n"; next }
right != "" && (/^    -/ || /^      /) {
  right = right $0 "\n"
  line = $0
  if (line ~ /^        name: /) sub(/name: /, "name: " prefix, line)
  prefixed = prefixed line "\n"
  next
}
{
  flush_right()
  document = document $0 "\n"
  line = $0
  if (line ~ /^  name: /) sub(/name: /, "name: " prefix, line)
  twin = twin line "\n"
}
END { flush_right(); flush_document() }
