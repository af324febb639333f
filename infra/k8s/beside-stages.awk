# The pods of a second system on the same broker: of each stage and of the page a second one, called `own`-NAME, that reads and writes
# topics whose names begin with `prefix` and a lake of its own below the live one. Logins, secrets, accounts, MLflow, the object store
# are the live system's. Reads what kustomize writes for the services, where a ConfigMap comes before who reads it.
BEGIN { split("ingest aggregate detect sink score dashboard", names); for (i in names) stage[names[i]] = 1 }
function flush_document() {
  if (is_kept()) printf "%s%s", (count++ ? "---\n" : ""), document
  document = kind = name = ""
}
function is_kept() {
  if (kind ~ /^(StatefulSet|Deployment|Service|PodDisruptionBudget|ScaledObject|HorizontalPodAutoscaler)$/) { sub(/-service$/, "", name); return name in stage }
  if (kind == "NetworkPolicy") return name == "dashboard" || name == "dashboard-to-stages" || name == "stages" || name == "scaler-to-sink"
  return kind == "ConfigMap" && name == settings
}
# put LINE KEY BEFORE: the line with something put between a key and its value
function put(line, key, before) { sub(key, "&" before, line); return line }
/^#/ { print; next }
/^---$/ { flush_document(); next }
/^[a-zA-Z]/ { section = $1 }
/^kind: / { kind = $2 }
{
  line = $0
  if (section == "metadata:" && /^  name: /) {
    name = $2
    if (name ~ /^quantstream-/ && name != "quantstream-jobs") settings = name
    line = put(line, "name: ", own "-")
  } else if (/^ *serviceName: /) line = put(line, "serviceName: ", own "-")
  else if (/^ *name: / && settings != "" && $2 == settings) line = put(line, "name: ", own "-")
  else if (/app\.kubernetes\.io\/name: / && $2 in stage) line = put(line, "name: ", own "-")
  else if (/^  [a-zA-Z]/) part = $1
  if (kind == "ScaledObject" || kind == "HorizontalPodAutoscaler") {
    if (part == "scaleTargetRef:" && /^    name: /) line = put(line, "name: ", own "-")
    if (/^ *url: http:/) line = put(line, "http://", own "-")
    if (/^ *(topic|consumerGroup): /) line = put(line, ": ", prefix)
  }
  if (/^  QUANTSTREAM_STAGES: /) for (one in stage) gsub("http://" one ":", "http://" own "-" one ":", line)
  if (/^  QUANTSTREAM_LAKE: /) line = "  QUANTSTREAM_KAFKA__TOPIC_PREFIX: " prefix "\n" line "/" own
  document = document line "\n"
}
END { flush_document() }
