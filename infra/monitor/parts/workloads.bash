# Deployments and stateful sets, jobs and cron jobs.
look_at_rollouts() {
  list "$WORK/rollouts.json" 'deployments and stateful sets' rollouts deployments,statefulsets '' || return 1
  if items "$WORK/rollouts.json" "$AWK_ROLLOUTS" >"$WORK/rollouts.out"; then sort_out "$WORK/rollouts.out" "$WORK/rollouts"
  else malformed rollouts 'deployments and stateful sets'; fi
}

look_at_jobs() {
  list "$WORK/jobs.json" 'jobs and cron jobs' jobs cronjobs,jobs '' || return 1
  if items "$WORK/jobs.json" "$AWK_JOBS" >"$WORK/jobs.out"; then sort_out "$WORK/jobs.out" "$WORK/jobs"
  else malformed jobs 'jobs and cron jobs'; fi
}
