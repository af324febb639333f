# The stack of this machine.
status_command() {
  local here
  if [ -n "$COMMAND" ]; then echo "$COMMAND"; return; fi
  here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
  if [ -x "$here/.venv/bin/quantstream" ]; then echo "$here/.venv/bin/quantstream"; else command -v quantstream; fi
}

# Facts in stack.json: S stage port
# shellcheck disable=SC2016
readonly AWK_STACK='
function leaf(path, value) { if (path ~ /^processes\|[^|]+\|http_port$/) { split(path, part, "|"); print "S", part[2], value } }
function item_end(i) {}
function done() {}
'

read_stack() {
  : >"$WORK/stack"
  if [ ! -e "$STATE/stack.json" ]; then finding critical stack "$STATE" Nothing "no stack was started in $STATE; run quantstream up, or name its folder with --state"; return 1; fi
  if [ ! -r "$STATE/stack.json" ]; then unknown stack "$STATE" Forbidden "$STATE/stack.json may be read by its owner only"; return 1; fi
  json "$STATE/stack.json" "$AWK_STACK" >"$WORK/stack" || { unknown stack "$STATE" Malformed "$STATE/stack.json is damaged; run quantstream down, then up"; return 1; }
}

look_at_processes() {
  local command code
  if ! command=$(status_command); then unknown processes all NoCommand 'the quantstream command is not there; run make setup'; return 1; fi
  QUANTSTREAM_STATE='' env -u QUANTSTREAM_STATE "$command" status --json --state "$STATE" >"$WORK/status.json" 2>"$WORK/status.err"
  code=$?
  if [ "$code" -ne 0 ]; then unknown processes all Unreadable "quantstream status ended with code $code: $(tail -n 1 "$WORK/status.err")"; return 1; fi
  json "$WORK/status.json" "$AWK_STATUS" >"$WORK/status.out" || { malformed processes 'quantstream status'; return 1; }
  sort_out "$WORK/status.out" "$WORK/processes"
}

# What supervisord wrote: exits that nobody asked for. Facts: X seconds-since-the-epoch process text
supervisor_exits() { # since-seconds
  local zone offset
  zone=$(date +%z)
  offset=$(((10#${zone:1:2} * 60 + 10#${zone:3:2}) * 60))
  [ "${zone:0:1}" = + ] || offset=$((-offset))
  cat "$STATE"/logs/supervisord.log 2>/dev/null | awk -v "offset=$offset" -v "now=$(now)" -v "within=$1" "$AWK_WORDS"'
    / exited: .*(not expected|terminated by)/ || / gave up: / { at = epoch($0) - offset; if (now - at > within) next
      text = $0; sub(/^.*(exited|gave up): /, "", text); name = text; sub(/ .*/, "", name); sub(/^[^(]*/, "", text)
      print "X", at, name, ($0 ~ / gave up: /) ? "gave up " text : text }'
}

look_at_restarts() {
  supervisor_exits "$(limit window-seconds)" | awk -v "LIMITS=$LIMITS" -v "now=$(now)" "$AWK_WORDS"'
    { n[$3]++; last[$3] = $2; text[$3] = $4 }
    END { for (name in n) if (n[name] >= limit["restarts-warning"]) finding(worst_of(n[name], "restarts-warning", "restarts-critical"), "process", name, "Restarted", "ended by itself " plural(n[name], "time") ", last " span(now - last[name]) " ago " text[name]) }
  ' | cut -f 2- | sort >>"$WORK/findings"
}

look_at_disk() {
  local percent
  percent=$(df -P "$STATE" 2>/dev/null | awk 'NR == 2 { sub(/%/, "", $5); print $5 }')
  if ! [[ $percent =~ ^[0-9]+$ ]]; then unknown disk "$STATE" Unreadable 'df does not say how full the disk is'; return; fi
  local severity=ok
  [ "$percent" -lt "$(limit volume-warning)" ] || severity=warning
  [ "$percent" -lt "$(limit volume-critical)" ] || severity=critical
  finding "$severity" disk "$STATE" Fill "$percent % of the disk is used"
}

# One GET over bash's own sockets: a base image need not have curl.
http_get() { # port path
  local limit=()
  if command -v timeout >/dev/null; then limit=(timeout "$PATIENCE"); fi
  # shellcheck disable=SC2016
  ${limit[@]+"${limit[@]}"} bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" "$2" >&3 && cat <&3' _ "$1" "$2"
}

ask_local() { # stage process port file
  http_get "$3" /metrics >"$4" 2>"$4.err"
  local code=$?
  case $code in
    0) head -n 1 "$4" | grep -q ' 200 ' || { echo "$2 answers its metrics with '$(head -n 1 "$4" | tr -d '\r')'" >"$4.why"; return; }
      read_metrics "$1" "$2" "$4" >"$4.facts" || echo "$2 answered, but with no numbers of its own" >"$4.why" ;;
    124) echo "no answer about the metrics of $2 within $PATIENCE s (--timeout)" >"$4.why" ;;
    *) echo "nobody answers at port $3, where the metrics of $2 should be" >"$4.why" ;;
  esac
}

look_at_local_metrics() {
  local number=0 stage port _
  while IFS=$'\t' read -r _ stage port; do
    [[ ",$STAGES," == *",$stage,"* ]] || continue
    number=$((number + 1))
    ask_local "$stage" "$stage" "$port" "$WORK/metrics.$number" &
    printf '%s\t%s\t%s\t%s\t-\n' "$number" "$stage" "$stage" "$port" >>"$WORK/asked"
  done <"$WORK/stack"
  wait
  judge_metrics
}

look_for_stages() {
  local stage
  for stage in ${EXPECT//,/ }; do
    grep -q "^S	$stage	" "$WORK/stack" || finding critical stage "$stage" Missing 'the stack was started without this stage'
  done
}

local_health() {
  ASK=ask_local
  read_stack || return
  if skipped pods; then left_out pods; else look_at_processes && look_at_restarts; fi
  if skipped stages; then left_out stages; else look_for_stages; fi
  if skipped disk; then left_out disk; else look_at_disk; fi
  if skipped metrics; then left_out metrics; else look_at_local_metrics; fi
}
