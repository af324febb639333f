# Logs: rates and messages, and how far back what was read reaches.
gather() { # stage file pod since [stamped]: add its numbers to the facts, and say when it was cut
  local zone offset
  zone=$(date +%z)
  offset=$(((10#${zone:1:2} * 60 + 10#${zone:3:2}) * 60))
  [ "${zone:0:1}" = + ] || offset=$((-offset))
  awk -v "LIMITS=$LIMITS" -v "stage=$1" -v "since=$4" -v "offset=$((-offset))" -v "now=$(now)" -v "STAMPED=${5:-}" "$AWK_WORDS$AWK_LOGS" "$2" >"$WORK/log.read"
  tell_of_cut "$2" "$3"
  cat "$WORK/log.read" >>"$WORK/log.facts"
}

# One line more is asked for than is read: what comes of it was cut, and its rates are those of the time that was read.
tell_of_cut() { # file pod; marks the rates of one that was cut
  local lines bytes how reach=''
  lines=$(wc -l <"$1") bytes=$(wc -c <"$1")
  if [ "$bytes" -ge "$MAX_LOG" ]; then how="its first $((MAX_LOG / 1000000)) MB were read, what came later was not"
  elif [ "$lines" -gt "$MAX_LINES" ]; then how="its last $MAX_LINES lines were read (--max-lines)"
  else return; fi
  awk -F '\t' -v "all=$SINCE_SECONDS" '$1 == "R" && $7 >= all { whole = 1 } END { exit !whole }' "$WORK/log.read" && return  # what was left out is older
  reach=$(awk -F '\t' -v "LIMITS=$LIMITS" "$AWK_WORDS"'$1 == "R" && $7 >= 0 { print "; they begin " span($7) " ago" }' "$WORK/log.read")
  finding warning logs "$2" Cut "the log of the last $SINCE is longer than what was read of it: $how$reach"
  [ "$bytes" -ge "$MAX_LOG" ] || sed -i.cut "s/^R\t.*/&\tcut/" "$WORK/log.read"
}

cluster_logs() {
  : >"$WORK/log.facts"
  look_at_pods || return
  awk -F '\t' '$1 == "unknown" || $4 ~ /^Nothing/' "$WORK/findings" >"$WORK/kept"
  mv "$WORK/kept" "$WORK/findings"
  local number=0 pod stage name space all options=(--timestamps "--tail=$((MAX_LINES + 1))" "--limit-bytes=$MAX_LOG")
  if [ -n "$PREVIOUS" ]; then options+=(--previous); else options+=("--since=${SINCE_SECONDS}s"); fi
  containers_to_read >"$WORK/in_turn"
  all=$(cut -f 1 "$WORK/in_turn" | sort -u | wc -l)
  if [ "$all" -eq 0 ]; then unknown logs "${STAGE:-all}" Nothing "there is no pod of ${STAGE:-any part} to read logs of"; return; fi
  awk -F '\t' -v most="$MAX_PODS" '!($1 in seen) { seen[$1] = ++n } seen[$1] <= most' "$WORK/in_turn" >"$WORK/chosen"
  while IFS=$'\t' read -r pod stage name space; do
    number=$((number + 1))
    read_log "$pod" "$name" "$space" "$WORK/log.$number" "${options[@]}" &
    printf '%s\t%s\t%s\n' "$number" "$stage" "$pod" >>"$WORK/logs.asked"
    [ $((number % AT_ONCE)) -ne 0 ] || wait
  done <"$WORK/chosen"
  wait
  [ "$all" -le "$MAX_PODS" ] || finding warning logs 'more pods' NotRead "only the logs of $MAX_PODS of $all pods were read (--max-pods)"
  gather_asked
  judge_logs
}

# pod, part, container, namespace; each part in turn, so that a limit cuts them alike
containers_to_read() {
  awk -F '\t' -v OFS='\t' -v want="$STAGE" '
    $1 == "P" { part = $3 }
    $1 == "C" && (want == "" ? part != "-" : part == want) { print ++n[part], $2, part, $3, $4 }' "$WORK/pods" |
    sort -n -s -k1,1 | cut -f 2-
}

read_log() { # pod container namespace file options…
  local pod=$1 container=$2 space=$3 file=$4
  shift 4
  kube logs --namespace "$space" "$pod" --container "$container" "$@" >"$file" 2>"$file.err" || why "$?" "$file.err" "the logs of $pod" >"$file.why"
}

gather_asked() {
  local number stage pod text
  while IFS=$'\t' read -r number stage pod; do
    if [ -s "$WORK/log.$number.why" ]; then
      text=$(cat "$WORK/log.$number.why")
      if [ -n "$PREVIOUS" ] && [[ $text == *'previous terminated container'* ]]; then finding ok logs "$pod" NoPrevious 'it has not been restarted'
      else unknown logs "$pod" "$(reason_of "$text")" "$text"; fi
    else gather "$stage" "$WORK/log.$number" "$pod" 0 yes; fi
  done <"$WORK/logs.asked"
}

# Rates are by the minute of what was read: of all the time asked for, or, of a log that was cut, of the part that is there.
judge_logs() {
  awk -F '\t' -v OFS='\t' -v "all=$SINCE_SECONDS" '
    $1 == "R" { m = ($8 == "cut" && $7 >= 0 && $7 < all ? ($7 > 0 ? $7 : 1) : all) / 60
      if (!($2 in seen)) order[++n] = $2; seen[$2] = 1
      l[$2] += $3; e[$2] += $4; w[$2] += $5; f[$2] += $6; by_e[$2] += $4 / m; by_w[$2] += $5 / m }
    END { for (i = 1; i <= n; i++) { s = order[i]; print s, l[s], e[s], w[s], f[s] + 0, sprintf("%.2f", by_e[s]), sprintf("%.2f", by_w[s]) } }' "$WORK/log.facts" | sort >"$WORK/rates"
  { printf 'stage\tlines\terrors\twarnings\tfatals\terrors_per_minute\twarnings_per_minute\n'; cat "$WORK/rates"; } >"$WORK/table.rates"
  awk -F '\t' '$1 == "G" { k = $3 "\t" $4 "\t" $5; n[k] += $2 } END { for (k in n) print n[k] "\t" k }' "$WORK/log.facts" | sort -k1,1nr -k2 >"$WORK/kinds"
  { printf 'count\tstage\tlevel\tmessage\n'; awk -v most="$MAX_KINDS" 'NR <= most' "$WORK/kinds"; } >"$WORK/table.messages"
  local kinds
  kinds=$(wc -l <"$WORK/kinds")
  [ "$kinds" -le "$MAX_KINDS" ] || finding ok logs messages More "the $MAX_KINDS most frequent of $((kinds)) kinds of messages are shown"
  awk -v "LIMITS=$LIMITS" -v "since=$SINCE" "$AWK_WORDS"'
    { severity = worst_of($6, "errors-warning", "errors-critical"); if (severity == "ok" && $7 >= limit["warnings-warning"]) severity = "warning"
      fatal = worst_of($5, "fatals-warning", "fatals-critical"); if (fatal == "critical" || severity == "ok") severity = fatal
      finding(severity, "logs", $1, $5 > 0 ? "Fatal" : $3 || $4 ? "Rate" : "Quiet", plural($3, "error") ($5 > 0 ? " (" $5 " fatal)" : "") " and " plural($4, "warning") " in " plural($2, "line") " of the last " since) }
  ' "$WORK/rates" | cut -f 2- >>"$WORK/findings"
}

local_logs() {
  local file name ending=.log found='' before
  [ -z "$PREVIOUS" ] || ending=.log.1
  : >"$WORK/log.facts"
  for file in "$STATE/logs/"*"$ending"; do
    [ -e "$file" ] || continue
    name=$(basename "$file" "$ending")
    [ -z "$STAGE" ] || [ "$name" = "$STAGE" ] || continue
    found=yes
    before=()
    [ -n "$PREVIOUS" ] || [ ! -r "$file.1" ] || before=("$file.1")  # what was rotated away meanwhile
    if ! cat ${before[@]+"${before[@]}"} "$file" 2>/dev/null | tail -n "$((MAX_LINES + 1))" >"$WORK/log.one"; then unknown logs "$name" Unreadable "$file cannot be read"; continue; fi
    gather "$name" "$WORK/log.one" "$name" $(($(now) - SINCE_SECONDS))
  done
  if [ -z "$found" ]; then unknown logs "${STAGE:-all}" Nothing "there is no ${STAGE:-*}$ending in $STATE/logs"; return; fi
  judge_logs
}
