# What it can do, and its thresholds.
usage() {
  cat <<HELP
usage: $PROGRAM VERB [options]

Verbs
  health   pods, workloads that must be there, rollouts, nodes, Kafka, scalers, jobs, volumes, the feed, lag, candles, models
  logs     error and warning rates of each part, and its messages with similar ones put together
  events   what Kubernetes (or, with --local, the supervisor) warned of
  top      CPU and memory of each pod, against its limits
  watch    health again and again; prints what is new and what is over
  report   all of it as Markdown

Where to look
  -n, --namespace A,B    [default: those labelled app.kubernetes.io/part-of=quantstream]
  -l, --selector LABELS  only what carries these labels
  --context NAME, --kubeconfig FILE   as kubectl takes them
  --local                the stack of this machine instead of a cluster; no kubectl needed
  --state DIR            its state folder [default: \$QUANTSTREAM_STATE or .quantstream]
  --command FILE         with --local: the quantstream command [default: the project's, else the one on PATH]
  --expect A,B           what must be there, by its label app.kubernetes.io/name, besides what labels quantstream.io/needs-NAME say
                         [default: $EVERYTHING;
                         with --local the stages; with --selector nothing]
  --skip CHECK,...       leave out: $CHECKS
                         (each is then named as left out)

How
  --json                 one JSON object (watch: one a line) instead of text
  --since DURATION       logs and events: how far back, e.g. 90s, 10m, 2h [default: 10m]
  --previous             logs of the container before the last restart (--local: of the rotated file)
  --stage NAME           logs of one stage or other part only
  --interval SECONDS     watch: time between looks [default: 30]      --count N   watch: end after N looks
  --timeout SECONDS      patience with each question [default: 10]
  --max-pods N           ask at most so many pods for logs and metrics [default: 50]
  --max-lines N          read at most so many lines of each log [default: 5000]
  --thresholds FILE      lines of NAME = NUMBER, # comments
  --now TIME             judge as of this time (seconds since the epoch), for recorded answers
  NO_COLOR               set it and nothing is coloured

Thresholds (--NAME NUMBER, or in the file)
$(limits_help)

Exit codes, for cron and CI; the first that applies
  2  something is critical     3  something cannot be told (no answer, no permission, wrong usage)
  1  a warning                 0  all of it was looked at and is fine
HELP
}

# name|default|meaning
readonly LIMIT_TABLE='restarts-warning|1|restarts of a container, the last within the window
restarts-critical|5|
window-seconds|3600|how long a restart counts
pending-seconds|120|a pod that waits longer than this is critical
not-ready-seconds|120|a container that is not ready for longer is critical
finished-seconds|21600|how long a pod or job that failed is news
volume-warning|80|percent of a volume or of the local disk
volume-critical|90|
lag-warning|10000|records a stage is behind; a partition read to its end may count one
lag-critical|100000|
candle-warning|900|age of a symbol'\''s last candle, seconds of the market'\''s clock
candle-critical|1800|
feed-seconds|10|the exchange'\''s clock must move within
proof-warning|108000|age of the last proof of all candles, seconds
proof-critical|259200|
gaps-warning|1|id gaps that are open
gaps-critical|20|
memory-warning|85|percent of the limit
memory-critical|95|
errors-warning|1|error lines of a stage per minute
errors-critical|20|
fatals-warning|1|lines that say fatal, panic or critical, in all
fatals-critical|10|
warnings-warning|30|warning lines of a stage per minute
events-warning|1|warnings of Kubernetes since then
events-critical|200|'

limits_help() {
  local name value meaning
  while IFS='|' read -r name value meaning; do printf '  %-20s %7s  %s\n' "$name" "$value" "$meaning"; done <<<"$LIMIT_TABLE"
}

fail() { printf '%s: %s\n' "$PROGRAM" "$1" >&2; exit "$CANNOT_TELL"; }
