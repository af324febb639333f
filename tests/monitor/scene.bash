# What the bats files share: a scene of recorded answers, and the monitor run over it.
# shellcheck shell=bash
# shellcheck disable=SC2086,SC2119,SC2120,SC2154  # words meant to split; bats' own variables; lists may be empty
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MONITOR=$HERE/../../infra/monitor/quantstream-monitor
RECORDED=$HERE/recorded
NOW=1795370400 # 2026-11-22T18:00:00Z, when the answers were recorded
STAGES='ingest aggregate detect sink score'
TOOLS='awk basename bash cat comm cp cut date df dirname env getconf grep head mktemp mv paste ps readlink rm sed sleep sort tail timeout touch tr wc'

# A folder of only the tools that every system has: no jq, no curl. The fake kubectl comes first.
tools_only() {
  local tool folder=$BATS_FILE_TMPDIR/tools
  mkdir -p "$folder"
  for tool in $TOOLS; do ln -sf "$(command -v "$tool")" "$folder/$tool"; done
  ln -sf "$HERE/bin/kubectl" "$folder/kubectl"
  if [ "${WITH_JQ:-}" = yes ]; then ln -sf "$(command -v jq || command -v jaq)" "$folder/jq"; fi
}

list() { # FOLDER NAME…: a list as kubectl prints it
  local folder=$1 name first=yes
  shift
  printf '{\n    "apiVersion": "v1",\n    "items": [\n'
  for name in "$@"; do
    [ -n "$first" ] || printf ',\n'
    first=''
    cat "$RECORDED/$folder/$name.json"
  done
  printf '    ],\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n'
}

pods() { list pods "$@" >"$SCENE/pods"; }
rollouts() { list rollouts "$@" >"$SCENE/deployments,statefulsets"; }
claims() { list claims "$@" >"$SCENE/persistentvolumeclaims"; }
events() { list events "$@" >"$SCENE/events"; }
refuse() { printf '%s\n%s\n' "$2" "$3" >"$SCENE/$1.fail"; } # QUESTION CODE STDERR
forbid() { refuse "$1" 1 "Error from server (Forbidden): $2 is forbidden: User \"jane\" cannot list resource \"$2\" in API group \"\" in the namespace \"quantstream\""; }

scene() { # everything fine
  SCENE=$(mktemp -d "$BATS_TEST_TMPDIR/scene.XXXX")
  export SCENE
  local stage
  pods $STAGES
  rollouts $STAGES postgres
  claims lake
  events
  cp "$RECORDED/stats.json" "$SCENE/stats"
  for stage in $STAGES; do
    cp "$RECORDED/metrics/$stage.txt" "$SCENE/metrics.$stage"
    cp "$RECORDED/logs/$stage.txt" "$SCENE/logs.$stage"
  done
  cp "$RECORDED/top.txt" "$SCENE/top"
}


metric() { # STAGE NAME VALUE: as if the stage had said so
  sed -i "s/^\(quantstream_$1_$2\) .*/\1 $3/" "$SCENE/metrics.$1"
}

monitor() {
  PATH=$BATS_FILE_TMPDIR/tools run -"${EXPECTED:-0}" "$BATS_FILE_TMPDIR/tools/bash" "$MONITOR" "$@" --now "$NOW"
}

# Fails and shows the output unless a line has all of the given words.
says() {
  local line word hit
  while IFS= read -r line; do
    hit=yes
    for word in "$@"; do [[ $line == *"$word"* ]] || hit=''; done
    [ -z "$hit" ] || return 0
  done <<<"$output"
  printf 'no line says: %s\nbut:\n%s\n' "$*" "$output"
  return 1
}

says_not() { if says "$@" >/dev/null; then printf 'says %s:\n%s\n' "$*" "$output"; return 1; fi; }
