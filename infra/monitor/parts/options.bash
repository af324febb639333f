# What was asked of it on the command line.
VERB='' NAMESPACE='' NAMESPACES=quantstream HOME_SPACE=quantstream SELECTOR='' CONTEXT='' KUBECONFIG_FILE='' LOCAL='' STATE=${QUANTSTREAM_STATE:-.quantstream}
COMMAND='' EXPECT='' BY_LABELS='' SKIP='' AS_JSON='' SINCE=10m PREVIOUS='' STAGE='' INTERVAL=30 COUNT=0
PATIENCE=10 MAX_PODS=50 MAX_LINES=5000 NOW=''
readonly STAGES='ingest,aggregate,detect,sink,score'
readonly EVERYTHING="$STAGES,dashboard,mlflow,postgres,objects,kafka,airflow,airflow-scheduler,airflow-dag-processor"
readonly CHECKS='pods stages rollouts nodes operators jobs volumes metrics disk'
readonly MAX_LOG=20000000 # bytes of one log
readonly MAX_KINDS=30 # kinds of messages that are shown
readonly MAX_BYTES=400000000  # of one answer: about 20,000 pods
readonly AT_ONCE=8            # questions under way together
LIMITS=';'

set_limit() { # name value place
  grep -q "^$1|" <<<"$LIMIT_TABLE" || fail "$3: $1 is not a threshold; see $PROGRAM --help"
  [[ $2 =~ ^[0-9]+$ ]] || fail "$3: $1 takes a whole number, not '$2'"
  LIMITS+="$1=$2;"
}

read_limits() { # file
  local line name value
  [ -r "$1" ] || fail "--thresholds: $1 cannot be read"
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%%#*}
    [[ $line =~ ^[[:space:]]*$ ]] && continue
    [[ $line =~ ^[[:space:]]*([a-z-]+)[[:space:]]*=[[:space:]]*([^[:space:]]+)[[:space:]]*$ ]] ||
      fail "--thresholds: '$line' is not NAME = NUMBER"
    name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    set_limit "$name" "$value" --thresholds
  done <"$1"
}

limit() { local rest=${LIMITS##*";$1="}; printf '%s' "${rest%%;*}"; }

whole() { [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -gt 0 ] || fail "$1 takes a whole number above 0, not '$2'"; }

seconds() { # 10m → 600
  [[ $1 =~ ^([0-9]+)(s|m|h|d)$ ]] || fail "--since takes a duration such as 90s, 10m or 2h, not '$1'"
  case ${BASH_REMATCH[2]} in s) echo "${BASH_REMATCH[1]}" ;; m) echo $((10#${BASH_REMATCH[1]} * 60)) ;;
    h) echo $((10#${BASH_REMATCH[1]} * 3600)) ;; d) echo $((10#${BASH_REMATCH[1]} * 86400)) ;; esac
}

parse() {
  local name value meaning file=''
  while IFS='|' read -r name value meaning; do LIMITS+="$name=$value;"; done <<<"$LIMIT_TABLE"
  local given=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --local) LOCAL=yes; shift ;;
      --json) AS_JSON=yes; shift ;;
      --previous) PREVIOUS=yes; shift ;;
      -n | -l | --*)
        [ $# -ge 2 ] || fail "$1 is not an option without a value, or needs one; see $PROGRAM --help"
        case $1 in
          -n | --namespace) NAMESPACE=$2 ;; -l | --selector) SELECTOR=$2 ;; --context) CONTEXT=$2 ;;
          --kubeconfig) KUBECONFIG_FILE=$2 ;; --state) STATE=$2 ;; --command) COMMAND=$2 ;; --expect) EXPECT=$2 ;; --skip) SKIP=$2 ;;
          --since) SINCE=$2 ;; --stage) STAGE=$2 ;; --thresholds) file=$2 ;;
          --interval) whole "$1" "$2"; INTERVAL=$2 ;; --count) whole "$1" "$2"; COUNT=$2 ;;
          --timeout) whole "$1" "$2"; PATIENCE=$2 ;; --max-pods) whole "$1" "$2"; MAX_PODS=$2 ;;
          --max-lines) whole "$1" "$2"; MAX_LINES=$2 ;; --now) whole "$1" "$2"; NOW=$2 ;;
          *) grep -q "^${1#--}|" <<<"$LIMIT_TABLE" || fail "$1 is not an option; see $PROGRAM --help"
            given+=("${1#--}" "$2" "$1") ;;
        esac
        shift 2 ;;
      -*) fail "$1 is not an option; see $PROGRAM --help" ;;
      *) [ -z "$VERB" ] || fail "one verb at a time: $VERB or $1"; VERB=$1; shift ;;
    esac
  done
  [ -z "$file" ] || read_limits "$file"
  set -- ${given[@]+"${given[@]}"}
  while [ $# -gt 0 ]; do set_limit "$1" "$2" "$3"; shift 3; done  # flags win over the file
  check_options
}

check_options() {
  local part
  case $VERB in
    health | logs | events | watch | report | top) ;;
    '') fail "say what to do: health, logs, events, top, watch or report; $PROGRAM --help tells more" ;;
    *) fail "$VERB is not a verb; health, logs, events, top, watch and report are" ;;
  esac
  for part in ${SKIP//,/ }; do
    [[ " $CHECKS " == *" $part "* ]] || fail "--skip: there is no check called $part; there are: $CHECKS"
  done
  [[ $NAMESPACE =~ ^([a-z0-9]([a-z0-9-]*[a-z0-9])?(,[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)?$ ]] ||
    fail "'$NAMESPACE' is not the name of a namespace, or several with commas between"
  [[ $EXPECT =~ ^[a-z0-9,-]*$ ]] || fail "--expect takes names with commas between, not '$EXPECT'"
  what_to_expect
  SINCE_SECONDS=$(seconds "$SINCE") || exit "$CANNOT_TELL"
  [ -n "$LOCAL" ] || command -v kubectl >/dev/null || fail 'kubectl is not installed; install it, or look at this machine with --local'
}

what_to_expect() {
  if [ -n "$EXPECT" ]; then return; fi
  if [ -n "$LOCAL" ]; then EXPECT=$STAGES
  elif [ -z "$SELECTOR" ]; then EXPECT=$EVERYTHING BY_LABELS=yes; fi
}

skipped() { [[ ",$SKIP," == *",$1,"* ]]; }
