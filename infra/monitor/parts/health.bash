# The health of a cluster: every check.
ASK=ask_pod

cluster_health() {
  check pods look_at_pods || { skipped metrics || unknown metrics stages NobodyAsked 'without a list of pods no stage can be asked'; }
  check rollouts look_at_rollouts
  check nodes look_at_nodes
  check operators look_at_operators
  check jobs look_at_jobs
  check volumes look_at_volumes
  if skipped metrics; then left_out metrics
  elif [ -n "$(stage_pods)" ]; then look_at_metrics
  elif ! grep -q '^unknown.metrics' "$WORK/findings"; then unknown metrics stages NobodyAsked 'no stage runs that could be asked for its numbers'; fi
}

check() { # name function
  if skipped "$1"; then left_out "$1"; else "$2"; fi
}

left_out() { finding ok "$1" all LeftOut 'left out by --skip'; }
