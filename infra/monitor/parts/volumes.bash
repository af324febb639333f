# Volumes: claims, and how full they are.
look_at_volumes() {
  list "$WORK/claims.json" 'volume claims' volumes persistentvolumeclaims '' || return 1
  if ! items "$WORK/claims.json" "$AWK_CLAIMS" >"$WORK/claims.out"; then malformed volumes 'volume claims'; return 1; fi
  sort_out "$WORK/claims.out" "$WORK/claims"
  [ -s "$WORK/claims" ] || return 0
  awk -F '\t' '$1 == "V" { print $2 }' "$WORK/pods" | sort -u >"$WORK/nodes"
  look_at_fill
  tell_of_unmeasured
}

# Who may ask kubelets (nodes/proxy) may also run commands in every pod, so the account `monitor` may not; Prometheus has the same numbers.
readonly PROMETHEUS='/api/v1/namespaces/monitoring/services/http:prometheus-operated:9090/proxy/api/v1/query'
readonly FILL_QUERY='%7B__name__%3D~%22kubelet_volume_stats_%28used_bytes%7Ccapacity_bytes%7Cinodes%7Cinodes_used%29%22%7D'

read_fill() { # file of an answer
  json "$1" "$AWK_FILL" -v "NAMESPACES=$NAMESPACES" -v "HOME=$HOME_SPACE" >"$WORK/node.out" || return 1
  sort_out "$WORK/node.out" "$WORK/node.facts"
  cat "$WORK/node.facts" >>"$WORK/fill"
}

prometheus_tells() {
  kube get --raw "$PROMETHEUS?query=$FILL_QUERY" >"$WORK/prometheus.json" 2>/dev/null && read_fill "$WORK/prometheus.json" && [ -s "$WORK/fill" ]
}

look_at_fill() {
  local node number=0
  : >"$WORK/fill"
  while IFS= read -r node; do
    number=$((number + 1))
    [ "$number" -le "$MAX_PODS" ] || break
    kube get --raw "/api/v1/nodes/$node/proxy/stats/summary" >"$WORK/node.json" 2>"$WORK/node.err"
    local code=$?
    if [ "$code" -ne 0 ]; then
      local text
      text=$(why "$code" "$WORK/node.err" "the volumes of node $node")
      if [[ $text == 'not permitted'* ]] && prometheus_tells; then break; fi
      unknown volumes "node/$node" "$(reason_of "$text")" "$text"
      [[ $text == 'not permitted'* ]] && break  # the other nodes would say the same
    elif ! read_fill "$WORK/node.json"; then malformed volumes "node $node"; fi
  done <"$WORK/nodes"
  # A volume that several nodes share is told of once.
  awk -F '\t' '$2 != "volume" || ($4 != "Fill" && $4 != "Files") || !seen[$3, $4]++' "$WORK/findings" >"$WORK/once"
  mv "$WORK/once" "$WORK/findings"
}

tell_of_unmeasured() {
  awk -F '\t' 'FILENAME == ARGV[1] { known[$2, $3] = 1; next } $1 == "C" && !(($2, $3) in known) { print $3 }' "$WORK/fill" "$WORK/claims" >"$WORK/unmeasured"
  local claims
  claims=$(paste -s -d ' ' "$WORK/unmeasured")
  [ -z "$claims" ] || grep -q '^unknown.volumes' "$WORK/findings" ||
    unknown volumes fill Unmeasured "no node tells how full these are, for no running pod uses them: $claims"
}
