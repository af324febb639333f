# A stage's page of metrics. Facts: M stage pod metric labels value
/^quantstream_/ {
  line = $0; at = index(line, "{"); labels = ""
  if (at) { stop = match(line, /} [^}]*$/); if (!stop) next; name = substr(line, 1, at - 1); labels = substr(line, at + 1, stop - at - 1); value = substr(line, stop + 2) }
  else { split(line, part, " "); name = part[1]; value = part[2] }
  sub(/ .*/, "", value); lead = "quantstream_" stage "_"
  if (index(name, lead) != 1 || name ~ /_(bucket|created)$/) next
  print "M", stage, pod, substr(name, length(lead) + 1), labels, value; found++ }
END { exit found ? 0 : 9 }
