# Events, and the usage of CPU and memory.
cluster_events() {
  list "$WORK/events.json" events events events '' || return
  if ! items "$WORK/events.json" "$AWK_EVENTS" -v "SINCE=$SINCE_SECONDS" >"$WORK/events.out"; then malformed events events; return; fi
  sort_out "$WORK/events.out" "$WORK/events.facts"
  events_table
}

events_table() {
  { printf 'count\tseconds_ago\treason\tobject\tmessage\n'; cut -f 2- "$WORK/events.facts" | sort -k1,1nr -k2,2n | awk 'NR <= 50'; } >"$WORK/table.events"
}

local_events() {
  if [ ! -r "$STATE/logs/supervisord.log" ]; then unknown events supervisor Unreadable "there is no supervisord.log in $STATE/logs; was a stack started here?"; return; fi
  supervisor_exits "$SINCE_SECONDS" | awk -v "now=$(now)" -F '\t' -v OFS='\t' '{ n[$3]++; last[$3] = $2; text[$3] = $4 } END { for (k in n) print "E", n[k], now - last[k], "Exited", k, text[k] }' >"$WORK/events.facts"
  events_table
  awk -v "LIMITS=$LIMITS" "$AWK_WORDS"'{ total += $2 } END { finding(worst_of(total + 0, "events-warning", "events-critical"), "events", "supervisor", total ? "Warned" : "Quiet", total ? plural(total, "process") " ended unasked since then" : "no process ended unasked since then") }' "$WORK/events.facts" | cut -f 2- | sed 's/processs /processes /' >>"$WORK/findings"
}


cluster_top() {
  look_at_pods || return
  awk -F '\t' '$1 == "unknown" || $4 ~ /^Nothing/' "$WORK/findings" >"$WORK/kept"
  mv "$WORK/kept" "$WORK/findings"
  local space selected=()
  [ -z "$SELECTOR" ] || selected=(--selector "$SELECTOR")
  : >"$WORK/top"
  for space in $NAMESPACES; do
    fetch "$WORK/top.one" 'usage of pods' top top pods --namespace "$space" ${selected[@]+"${selected[@]}"} --containers --no-headers || continue
    cat "$WORK/top.one" >>"$WORK/top"
  done
  [ -s "$WORK/top" ] || return
  awk -v "LIMITS=$LIMITS" "$AWK_WORDS"'
    FILENAME == ARGV[1] { if ($1 == "L") { memory[$2, $3] = $4; cpu[$2, $3] = $5 } next }
    { if (split($0, f, /[ \t]+/) < 4 || f[3] !~ /^[0-9]+[num]?$/ || f[4] !~ /^[0-9]+[A-Za-z]*$/) { odd++; next }
      used = bytes(f[4]); most = memory[f[1], f[2]]; percent = most > 0 ? 100 * used / most : -1; rows++
      print "T", f[1], f[2], f[3], or_dash(cpu[f[1], f[2]]), int(used / 1048576), (most > 0 ? int(most / 1048576) : "-"), (percent < 0 ? "-" : int(percent + 0.5))
      severity = percent < 0 ? "ok" : worst_of(percent, "memory-warning", "memory-critical")
      if (severity != "ok") { bad++; finding(severity, "memory", f[1], "NearLimit", "container " f[2] " uses " int(percent + 0.5) " % of its limit of " int(most / 1048576) " MiB") } }
    END { if (odd) finding("unknown", "top", "usage", "Malformed", plural(odd, "line") " of kubectl top could not be read")
      if (rows && !bad) finding("ok", "memory", "all", "WithinLimits", plural(rows, "container") " within their limits") }
  ' "$WORK/pods" "$WORK/top" >"$WORK/top.out"
  sort_out "$WORK/top.out" "$WORK/top.facts"
  { printf 'pod\tcontainer\tcpu\tcpu_limit\tmemory_mib\tmemory_limit_mib\tmemory_percent\n'; cut -f 2- "$WORK/top.facts" | sort -t "$(printf '\t')" -k5,5nr | awk 'NR <= 100'; } >"$WORK/table.usage"
}

# CPU since the start, from /proc; `ps` where there is no /proc.
local_top() {
  read_stack || return
  look_at_processes || return
  awk -F '\t' '$1 == "unknown" || $4 ~ /^Nothing/' "$WORK/findings" >"$WORK/kept"
  mv "$WORK/kept" "$WORK/findings"
  local name pid restarts _ memory cpu lived hertz up
  hertz=$(getconf CLK_TCK 2>/dev/null || echo 100)
  printf 'process\tpid\tcpu_percent\tmemory_mib\trestarts\n' >"$WORK/table.usage"
  while IFS=$'\t' read -r _ name pid restarts _; do
    [[ $pid =~ ^[0-9]+$ ]] || continue
    if [ -r "/proc/$pid/stat" ]; then
      memory=$(awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$pid/status" 2>/dev/null)
      up=$(cut -d ' ' -f 1 /proc/uptime)
      cpu=$(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | awk -v hz="$hertz" -v up="$up" '{ lived = up - $20 / hz; printf "%.1f", (lived > 0 ? 100 * ($12 + $13) / hz / lived : 0) }')
    else
      lived=$(ps -o pcpu=,rss= -p "$pid" 2>/dev/null) || continue
      cpu=$(awk '{ print $1 }' <<<"$lived") memory=$(awk '{ print int($2 / 1024) }' <<<"$lived")
    fi
    [ -z "$memory" ] || printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$pid" "${cpu:-0}" "$memory" "$restarts" >>"$WORK/table.usage"
  done <"$WORK/processes"
  local rows
  rows=$(($(wc -l <"$WORK/table.usage") - 1))
  if [ "$rows" -gt 0 ]; then finding ok top all Seen "$rows processes, CPU as the mean since each started"
  else finding critical top all NothingRuns 'no process of the stack runs'; fi
}
