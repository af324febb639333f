# What says of itself how it is: nodes, and what the operators of Kafka, Postgres and scaling look after.
look_at_nodes() {
  local hosts
  fetch "$WORK/nodes.json" nodes nodes get nodes --chunk-size=500 --output json || return 1
  LISTED=1
  hosts=$(awk -F '\t' '$1 == "P" && $4 != "-" { print $4 }' "$WORK/pods" | sort -u)
  [ -n "$ALL_PODS" ] || hosts='*'  # any may carry one of ours
  if items "$WORK/nodes.json" "$AWK_CONDITIONS" -v CHECK=nodes -v "HOSTS=${hosts//$'\n'/ }" >"$WORK/nodes.out"; then sort_out "$WORK/nodes.out" "$WORK/nodes.facts"
  else malformed nodes nodes; fi
}

# A cluster without one of them has none of its kinds, which is as it should be: what it would look after is judged by its pods.
look_at_operator() { # check kinds
  local code
  OPTIONAL=yes
  list "$WORK/$1.json" "$1" "$1" "$2" ''
  code=$?
  OPTIONAL=''
  case $code in
    0) ;;
    "$NO_SUCH_KIND")
      # Some of its kinds without the first is no cluster without it.
      if ! grep -q "\"${2%%.*}\"" "$WORK/$1.json.one.err"; then unknown "$1" "$1" NotInstalled "$(tail -n 1 "$WORK/$1.json.one.err"); its other kinds are there"; return 1; fi
      finding ok "$1" all NotInstalled "the cluster does not know its kinds ($2)"; return ;;
    *) return 1 ;;
  esac
  if items "$WORK/$1.json" "$AWK_CONDITIONS" -v "CHECK=$1" >"$WORK/$1.out"; then sort_out "$WORK/$1.out" "$WORK/$1.facts"
  else malformed "$1" "$1"; fi
}

look_at_operators() {
  look_at_operator kafka kafkas.kafka.strimzi.io,kafkanodepools.kafka.strimzi.io,kafkatopics.kafka.strimzi.io,kafkausers.kafka.strimzi.io &&
    [ -s "$WORK/kafka.facts" ] && look_at_pools
  look_at_operator databases clusters.postgresql.cnpg.io,objectstores.barmancloud.cnpg.io
  look_at_operator scalers scaledobjects.keda.sh
  look_at_operator autoscalers horizontalpodautoscalers.autoscaling
}

# A broker whose pod is not even there shows in its pool's number alone.
look_at_pools() {
  [ -n "$ALL_PODS" ] || return
  awk -F '\t' -v OFS='\t' '
    FILENAME == ARGV[1] { if ($1 == "P" && $11 != "-") { have[$9, $11]++; if ($6 == "ready") ready[$9, $11]++ } next }
    $1 == "K" && ready[$2, $3] + 0 < $4 { print (ready[$2, $3] ? "warning" : "critical"), "kafka", "kafkanodepool/" $3, (ready[$2, $3] ? "Degraded" : "Unavailable"),
      ready[$2, $3] + 0 " of " $4 " nodes are ready, " have[$2, $3] + 0 " have a pod" }' "$WORK/pods" "$WORK/kafka.facts" >>"$WORK/findings"
}
