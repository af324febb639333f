# What awk shares.
BEGIN { FS = "\t"; OFS = "\t"; pairs_n = split(LIMITS, pairs, ";")
  for (i = 1; i <= pairs_n; i++) if (split(pairs[i], pair, "=") == 2) limit[pair[1]] = pair[2] + 0 }
function finding(severity, check, object, reason, text) { print "F", severity, check, object, reason, clean(text) }
function clean(s) { gsub(/[[:cntrl:]]+/, " ", s); if (length(s) > 300) s = substr(s, 1, 297) "..."; return s }
function span(s) { s = int(s); if (s < 0) s = 0
  if (s < 120) return s " s"; if (s < 7200) return int(s / 60) " min"; if (s < 172800) return int(s / 3600) " h"; return int(s / 86400) " days" }
function epoch(at,   y, m, d, era, yoe, doy) {  # ISO 8601, UTC; days by Hinnant, "chrono-Compatible Low-Level Date Algorithms"
  if (length(at) < 19) return 0
  y = substr(at, 1, 4) + 0; m = substr(at, 6, 2) + 0; d = substr(at, 9, 2) + 0
  if (m <= 2) y--
  era = int(y / 400); yoe = y - era * 400; doy = int((153 * (m + (m > 2 ? -3 : 9)) + 2) / 5) + d - 1
  return (era * 146097 + yoe * 365 + int(yoe / 4) - int(yoe / 100) + doy - 719468) * 86400 + substr(at, 12, 2) * 3600 + substr(at, 15, 2) * 60 + substr(at, 18, 2) }
function bytes(q,   n, u) { n = q + 0; u = q; gsub(/[0-9.eE+-]/, "", u)
  if (u == "Ki") return n * 1024; if (u == "Mi") return n * 1048576; if (u == "Gi") return n * 1073741824; if (u == "Ti") return n * 1099511627776
  if (u == "k") return n * 1000; if (u == "M") return n * 1000000; if (u == "G") return n * 1000000000; if (u == "T") return n * 1000000000000
  return n }
function or_dash(s) { return s == "" ? "-" : s }  # bash runs empty fields together
function plural(n, what) { return n " " what (n == 1 ? "" : "s") }
function worst_of(value, warning, critical) { return value >= limit[critical] ? "critical" : value >= limit[warning] ? "warning" : "ok" }
