# Findings as text, JSON and Markdown.
severity_code() { # of a findings file: critical before cannot tell before warning
  if [ ! -s "$1" ]; then return "$CANNOT_TELL"; fi
  if grep -q '^critical' "$1"; then return "$CRITICAL"; fi
  if grep -q '^unknown' "$1"; then return "$CANNOT_TELL"; fi
  if grep -q '^warning' "$1"; then return "$WARNING"; fi
  return "$FINE"
}

word_of() { case $1 in 0) echo fine ;; 1) echo warning ;; 2) echo critical ;; *) echo 'cannot tell' ;; esac; }

where() { if [ -n "$LOCAL" ]; then echo "stack in $STATE"; else echo "namespace ${NAMESPACES// /, }${CONTEXT:+ of $CONTEXT}"; fi; }

at_text() { date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$1" +%Y-%m-%dT%H:%M:%SZ; }

in_order() { awk -F '\t' '{ r = $1 == "critical" ? 0 : $1 == "unknown" ? 1 : $1 == "warning" ? 2 : 3; print r "\t" $0 }' "$WORK/findings" | sort -s -n -k1,1 | cut -f 2-; }

# shellcheck disable=SC2016
readonly AWK_ESCAPE='function quoted(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[[:cntrl:]]/, " ", s); return "\"" s "\"" }
function plain(s) { return s ~ /^-?[0-9]+(\.[0-9]+)?$/ ? s : quoted(s) }'

print_json() { # code
  local file name
  printf '{"verb":"%s","where":%s,"at":"%s","status":"%s","exit":%s,"findings":[' "$VERB" \
    "$(where | awk "$AWK_ESCAPE"'{ printf "%s", quoted($0) }')" "$(at_text "$(now)")" "$(word_of "$1")" "$1"
  in_order | awk -F '\t' "$AWK_ESCAPE"'{ printf "%s{\"severity\":%s,\"check\":%s,\"object\":%s,\"reason\":%s,\"text\":%s}", (NR > 1 ? "," : ""), quoted($1), quoted($2), quoted($3), quoted($4), quoted($5) }'
  printf ']'
  for file in "$WORK"/table.*; do
    [ -e "$file" ] || continue
    name=${file##*/table.}
    printf ',"%s":[' "$name"
    awk -F '\t' "$AWK_ESCAPE"'NR == 1 { n = split($0, head, "\t"); next } { printf "%s{", (NR > 2 ? "," : ""); for (i = 1; i <= n; i++) printf "%s%s:%s", (i > 1 ? "," : ""), quoted(head[i]), plain($i); printf "}" }' "$file"
    printf ']'
  done
  printf '}\n'
}

paint() { # adds colour to the severity where it is wanted
  if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    sed -e $'s/^  critical/  \e[1;31mcritical\e[0m/' -e $'s/^  cannot tell/  \e[1;35mcannot tell\e[0m/' -e $'s/^  warning/  \e[33mwarning\e[0m/' -e $'s/^  ok/  \e[32mok\e[0m/'
  else cat; fi
}

readonly SHOWN=60  # lines of findings before the rest is only counted

print_findings() {
  in_order | awk -F '\t' -v shown="$SHOWN" '
    { s = $1 == "unknown" ? "cannot tell" : $1; a[NR] = s; b[NR] = $2; c[NR] = $3; d[NR] = $4; e[NR] = $5
      if (NR <= shown) { if (length($2) > wb) wb = length($2); if (length($3) > wc) wc = length($3); if (length($4) > wd) wd = length($4) } }
    END { if (wc > 60) wc = 60
      for (i = 1; i <= NR && i <= shown; i++) printf "  %-11s  %-" wb "s  %-" wc "s  %-" wd "s  %s\n", a[i], b[i], c[i], d[i], e[i]
      if (NR > shown) printf "  and %d more; --json gives all\n", NR - shown }' | paint
}

print_table() { # file
  awk -F '\t' '{ for (i = 1; i <= NF; i++) { v[NR, i] = $i; if (length($i) > w[i]) w[i] = length($i) } if (NF > n) n = NF }
    END { for (r = 1; r <= NR; r++) { line = "  "; for (i = 1; i <= n; i++) line = line sprintf(v[r, i] ~ /^[0-9.]+$/ ? "%" w[i] "s  " : "%-" w[i] "s  ", v[r, i]); sub(/ +$/, "", line); print line } }' "$1"
}

print_text() { # code
  local file
  printf '%s  %s  %s: %s\n' "$(at_text "$(now)")" "$(where)" "$VERB" "$(word_of "$1" | tr '[:lower:]' '[:upper:]')"
  print_findings
  for file in "$WORK"/table.*; do
    [ -e "$file" ] && [ "$(wc -l <"$file")" -gt 1 ] && [ "${file##*/}" != table.rates ] || continue  # the findings name the rates
    printf '\n%s\n' "${file##*/table.}"
    print_table "$file"
  done
}

print_markdown() { # code
  local file
  printf '# QuantStream, %s: %s\n\nLooked at %s.\n\n## Findings\n\n| severity | check | object | reason | what |\n| --- | --- | --- | --- | --- |\n' \
    "$(where)" "$(word_of "$1")" "$(at_text "$(now)")"
  in_order | awk -F '\t' '{ gsub(/\|/, "\\|"); s = $1 == "unknown" ? "cannot tell" : $1; if (s != "ok") s = "**" s "**"; printf "| %s | %s | `%s` | %s | %s |\n", s, $2, $3, $4, $5 }'
  for file in "$WORK"/table.*; do
    [ -e "$file" ] && [ "$(wc -l <"$file")" -gt 1 ] || continue
    printf '\n## %s\n\n' "${file##*/table.}" | awk '/^## / { print "## " toupper(substr($0, 4, 1)) substr($0, 5); next } { print }'
    awk -F '\t' '{ gsub(/\|/, "\\|"); gsub(/\t/, " | "); gsub(/_/, NR == 1 ? " " : "_"); print "| " $0 " |" } NR == 1 { line = "|"; n = gsub(/\|/, "|"); for (i = 0; i <= n; i++) line = line " --- |"; print line }' "$file"
  done
  printf '\nWhat to do: infra/RUNBOOK.md.\n'
}
