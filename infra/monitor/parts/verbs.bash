# The verbs.
look() { # verb; what a tool complains of unforeseen makes the answer uncertain, never silent
  : >"$WORK/pods"
  if [ -n "$LOCAL" ]; then "local_$1"; else find_namespaces && "cluster_$1"; fi 2>"$WORK.noise"
  [ ! -s "$WORK.noise" ] || unknown monitor "$1" Internal "$(head -n 1 "$WORK.noise")"
}

begin() { rm -rf "${WORK:?}"/*; : >"$WORK/findings"; }

finish() { # printer: print, and return the code
  severity_code "$WORK/findings"
  local code=$?
  [ -s "$WORK/findings" ] || unknown "$VERB" all Nothing 'nothing could be found out'
  if [ -n "$AS_JSON" ]; then print_json "$code"; else "$1" "$code"; fi
  return "$code"
}

report() { # every verb into one set of findings
  local verb
  : >"$WORK/all"
  for verb in health logs events top; do
    : >"$WORK/findings"
    rm -f "$WORK"/asked "$WORK"/logs.asked
    look "$verb"
    cat "$WORK/findings" >>"$WORK/all"
  done
  awk '!seen[$0]++' "$WORK/all" >"$WORK/findings"
  finish print_markdown
}

# Without times and counts that only grow, so that the same trouble is not news each round.
trouble() { awk -F '\t' -v OFS='\t' '$1 != "ok" { print $1, $2, $3, $4 }' "$WORK/findings" | sort -u; }

watch() {
  local looks=0 code=0
  : >"$WORK.before"
  while :; do
    begin
    look health
    trouble >"$WORK.after"
    if [ -n "$AS_JSON" ]; then finish print_text; code=$?
    else
      severity_code "$WORK/findings"; code=$?
      tell_news "$looks" "$code"
    fi
    mv "$WORK.after" "$WORK.before"
    looks=$((looks + 1))
    [ "$COUNT" -eq 0 ] || [ "$looks" -lt "$COUNT" ] || return "$code"
    LAST=$code
    sleep "$INTERVAL"
  done
}

tell_news() { # looks code
  [ "$1" -gt 0 ] || printf '%s  %s  %s\n' "$(at_text "$(now)")" "$(where)" "$(word_of "$2" | tr '[:lower:]' '[:upper:]')"
  comm -13 "$WORK.before" "$WORK.after" >"$WORK.new"
  in_order | awk -F '\t' -v at="$(at_text "$(now)")" 'FILENAME == ARGV[1] { new[$0] = 1; next } ($1 "\t" $2 "\t" $3 "\t" $4) in new { printf "%s  new   %-11s  %s %s  %s  %s\n", at, $1 == "unknown" ? "cannot tell" : $1, $2, $3, $4, $5 }' "$WORK.new" -
  comm -23 "$WORK.before" "$WORK.after" | awk -F '\t' -v at="$(at_text "$(now)")" '{ printf "%s  over  %-11s  %s %s  %s\n", at, $1 == "unknown" ? "cannot tell" : $1, $2, $3, $4 }'
}

main() {
  parse "$@"
  WORK=$(mktemp -d) || fail 'no temporary folder can be made'
  trap 'rm -rf "$WORK" "$WORK".before "$WORK".after "$WORK".new "$WORK".noise' EXIT
  LAST=$CANNOT_TELL
  trap 'exit "$LAST"' INT TERM
  begin
  case $VERB in
    watch) watch ;;
    report) report ;;
    *) look "$VERB"; finish print_text ;;
  esac
}
