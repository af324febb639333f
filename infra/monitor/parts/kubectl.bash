# The cluster, asked by kubectl alone.
# The only way to the cluster: verbs that read, each with a time limit.
kube() {
  case $1 in get | logs | top) ;; *) fail "kubectl $1 is not something a monitor does" ;; esac
  local verb=$1 before=() limit=()
  shift
  [ -z "$CONTEXT" ] || before+=(--context "$CONTEXT")
  [ -z "$KUBECONFIG_FILE" ] || before+=(--kubeconfig "$KUBECONFIG_FILE")
  if command -v timeout >/dev/null; then limit=(timeout -k 2 $((PATIENCE + 5))); fi
  ${limit[@]+"${limit[@]}"} kubectl "$verb" ${before[@]+"${before[@]}"} "--request-timeout=${PATIENCE}s" "$@"
}

# Says in one sentence why kubectl failed, from its code and what it printed.
why() { # code error-file what
  local said
  said=$(grep -v '^[EWI][0-9]\{4\} ' "$2" | tail -n 1)
  [ -n "$said" ] || said=$(tail -n 1 "$2" 2>/dev/null)
  case $1:$said in
    124:* | 137:* | *'context deadline exceeded'* | *'i/o timeout'* | *'Client.Timeout'* | *'timed out'* | *'Timeout'*)
      echo "no answer about $3 within $PATIENCE s (--timeout)" ;;
    *orbidden*) echo "not permitted to read $3; grant it, or leave it out with --skip: ${said#Error from server (Forbidden): }" ;;
    *'Unable to connect'* | *'connection refused'* | *'no such host'* | *'was refused'*) echo "the cluster does not answer about $3: $said" ;;
    *nauthorized* | *'must be logged in'* | *'provide credentials'*) echo "the cluster does not accept these credentials: $said" ;;
    *'Metrics API not available'* | *'metrics not available'*) echo "the cluster has no metrics API; install metrics-server to see usage" ;;
    *) echo "kubectl could not read $3: ${said:-it ended with code $1 and no word}" ;;
  esac
}

reason_of() {
  case $1 in 'no answer'*) echo Timeout ;; 'not permitted'*) echo Forbidden ;; *'no metrics API'*) echo NoMetrics ;; *) echo Unreadable ;; esac
}

readonly NO_SUCH_KIND=9
OPTIONAL=''  # yes where a kind need not be there

fetch() { # file what check kubectl-arguments…: false, with a finding, when it cannot be read
  local file=$1 what=$2 check=$3 code text
  shift 3
  kube "$@" 2>"$file.err" | head -c "$MAX_BYTES" >"$file"
  code=${PIPESTATUS[0]}
  if [ "$code" -ne 0 ]; then
    if [ -n "$OPTIONAL" ] && grep -q "doesn't have a resource type" "$file.err"; then return "$NO_SUCH_KIND"; fi
    if [ "$(wc -c <"$file")" -ge "$MAX_BYTES" ]; then text="there are too many $what; narrow them down with --selector"
    else text=$(why "$code" "$file.err" "$what"); fi
    unknown "$check" "$what" "$(reason_of "$text")" "$text"
    return 1
  fi
  if ! grep -q '[^[:space:]]' "$file"; then
    unknown "$check" "$what" Empty "kubectl succeeded but said nothing about $what"
    return 1
  fi
}

LISTED=1  # namespaces that answered
PARTIAL=''  # yes when one of them did not
UNSURE=''   # yes when it is not known which namespaces are ours

# Lists of objects as JSON, of every namespace one behind the other.
list() { # file what check kinds projection
  local file=$1 what=$2 check=$3 kinds=$4 projection=$5 space code selected=()
  [ -z "$SELECTOR" ] || [ "$kinds" = events ] || selected=(--selector "$SELECTOR")
  [ "$kinds" != events ] || selected=(--field-selector 'type!=Normal')
  LISTED=0 PARTIAL=''
  : >"$file"
  for space in $NAMESPACES; do
    fetch "$file.one" "$what" "$check" get "$kinds" --namespace "$space" ${selected[@]+"${selected[@]}"} --chunk-size=500 --output json
    code=$?
    if [ "$code" -eq "$NO_SUCH_KIND" ]; then return "$code"; fi
    if [ "$code" -ne 0 ]; then PARTIAL=yes; continue; fi
    if [ -n "$projection" ] && command -v jq >/dev/null && jq -c "$projection" "$file.one" >"$file.small" 2>/dev/null; then mv "$file.small" "$file.one"; fi
    cat "$file.one" >>"$file"
    LISTED=$((LISTED + 1))
  done
  [ "$LISTED" -gt 0 ]
}

# Which namespaces are ours: those named, else those that say so.
find_namespaces() {
  UNSURE=yes
  if [ -n "$NAMESPACE" ]; then NAMESPACES=${NAMESPACE//,/ } UNSURE=''
  elif fetch "$WORK/namespaces.json" namespaces namespaces get namespaces --selector app.kubernetes.io/part-of=quantstream --output json; then
    LISTED=1
    local names='function visit(path, value) {} function object() { print p["metadata|name"] } function all() {}'
    if ! items "$WORK/namespaces.json" "$names" >"$WORK/names"; then malformed namespaces namespaces
    elif [ -s "$WORK/names" ]; then NAMESPACES=$(sort "$WORK/names" | paste -s -d ' ' -) UNSURE=''
    else finding critical namespaces all Nothing 'no namespace is labelled app.kubernetes.io/part-of=quantstream; was anything applied? Name yours with --namespace'; fi
  fi
  HOME_SPACE=${NAMESPACES%% *}
  [[ " $NAMESPACES " != *' quantstream '* ]] || HOME_SPACE=quantstream  # whose objects are named without it
}

malformed() { unknown "$1" "$2" Malformed "what kubectl answered about $2 is not the list it should be, or stops in the middle"; }
