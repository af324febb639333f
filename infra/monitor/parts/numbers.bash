# The stages' own numbers.
read_metrics() { # stage pod file
  awk -v "stage=$1" -v "pod=$2" -v OFS='\t' "$AWK_METRICS" "$3"
}

# Asks one stage for its metrics; facts go to FILE.facts, the reason why not to FILE.why.
ask_pod() { # stage pod port file namespace
  kube get --raw "/api/v1/namespaces/$5/pods/$2:$3/proxy/metrics" >"$4" 2>"$4.err"
  local code=$?
  if [ "$code" -ne 0 ]; then why "$code" "$4.err" "the metrics of $2" >"$4.why"
  elif ! read_metrics "$1" "$2" "$4" >"$4.facts"; then echo "$2 answered, but with no numbers of $1" >"$4.why"; fi
}

stage_pods() { awk -F '\t' '$1 == "P" && $10 != "-" && $8 == "Running"' "$WORK/pods"; }

look_at_metrics() {
  local number=0 pod stage port space left _
  stage_pods | one_in_turn >"$WORK/in_turn"  # a file: `wait` would wait for a process substitution as well
  while IFS=$'\t' read -r _ pod _ _ port _ _ _ space stage _; do
    number=$((number + 1))
    [ "$number" -le "$MAX_PODS" ] || break
    [ "$port" != - ] || port=8000
    ask_pod "$stage" "$pod" "$port" "$WORK/metrics.$number" "$space" &
    printf '%s\t%s\t%s\t%s\t%s\n' "$number" "$stage" "$pod" "$port" "$space" >>"$WORK/asked"
    [ $((number % AT_ONCE)) -ne 0 ] || wait
  done <"$WORK/in_turn"
  wait
  left=$(($(wc -l <"$WORK/in_turn") - number))
  [ "$number" -le "$MAX_PODS" ] || finding warning metrics 'more pods' NotAsked "only $MAX_PODS pods were asked for their numbers, $((left + 1)) were not (--max-pods)"
  judge_metrics
}

# Orders pods so that each stage comes in turn: a limit then cuts every stage alike.
one_in_turn() { awk -F '\t' '{ print ++n[$3] "\t" $0 }' | sort -n -s -k1,1 | cut -f 2-; }

judge_metrics() { # from $WORK/asked and the answers
  local number stage pod port space text
  : >"$WORK/metrics"
  [ -s "$WORK/asked" ] || { unknown metrics stages NobodyAsked 'no stage runs that could be asked for its numbers'; return; }
  while IFS=$'\t' read -r number stage pod port space; do
    if [ -s "$WORK/metrics.$number.why" ]; then
      text=$(cat "$WORK/metrics.$number.why")
      unknown metrics "$pod" "$(reason_of "$text")" "$text"
    else cat "$WORK/metrics.$number.facts" >>"$WORK/metrics"; fi
  done <"$WORK/asked"
  awk -v "LIMITS=$LIMITS" -v "EXPECT=$STAGES" -v "now=$(now)" "$AWK_WORDS$AWK_JUDGE" "$WORK/metrics" | cut -f 2- >>"$WORK/findings"
  [ -s "$WORK/metrics" ] && look_at_feed
}

pulse() { awk -F '\t' -v pod="$2" '$3 == pod && ($4 == "market_time_seconds" || $4 == "frames_total") { print $4, $6 }' "$1"; }

# A pod of each part of the symbols that ingest follows.
feed_pods() {
  awk -F '\t' -v OFS='\t' 'NR == FNR { if ($4 == "market_time_seconds") part[$3] = match($5, /shard="[^"]*"/) ? substr($5, RSTART + 7, RLENGTH - 8) : "1/1"; next }
    $2 == "ingest" && $3 in part && !seen[part[$3]]++ { print $0, part[$3] }' "$WORK/metrics" "$WORK/asked"
}

look_at_feed() {
  local number stage pod port space shard
  feed_pods >"$WORK/feed_pods"
  while IFS=$'\t' read -r number stage pod port space shard; do look_at_feed_of "$stage" "$pod" "$port" "$space" "$shard"; done <"$WORK/feed_pods"
}

# The exchange's clock, as ingest reads it, must move: asked twice, whatever the pace of the market.
look_at_feed_of() { # stage pod port namespace shard
  local stage=$1 pod=$2 port=$3 space=$4 shard='' before waited=0
  [ "$5" = 1/1 ] || shard=" of part $5 of the symbols"
  before=$(pulse "$WORK/metrics" "$pod")
  [ -n "$before" ] || return 0
  while [ "$waited" -le "$(limit feed-seconds)" ]; do
    rm -f "$WORK/again.why"
    "$ASK" "$stage" "$pod" "$port" "$WORK/again" "$space"
    if [ -s "$WORK/again.why" ]; then unknown feed "$pod" Unreadable "$(cat "$WORK/again.why")"; return; fi
    if [ "$(pulse "$WORK/again.facts" "$pod")" != "$before" ]; then finding ok feed "ingest${shard:+ $5}" Moves "the exchange's clock moves"; return; fi
    sleep 1
    waited=$((waited + 1))
  done
  finding critical feed "ingest${shard:+ $5}" Stalled "neither the exchange's clock nor a frame moved in $(limit feed-seconds) s: the feed$shard stands still"
}
