#!/bin/sh
# Holds the images of others that we build on and run to one content. usage: pin.sh          ask the registries, write images.lock
#                                                                       pin.sh --check  say what has no digest; asks nobody
#                                                                       pin.sh --base   print what images are built on, by digest
# A release's lines for our own images (REGISTRY of ../k8s/versions.conf) may stand there, too; they stay.
# MIRROR=host[:port] asks this registry in place of docker.io. Exit 0: all are pinned; 1: one is not; 3: a registry did not answer for one, what was known of it stays.
set -eu
cd "$(dirname "$0")/../.."
lock=${LOCK:-infra/docker/images.lock}
# shellcheck source=infra/k8s/versions.conf
. infra/k8s/versions.conf
say() { printf 'pin: %s\n' "$*" >&2; }

# Every image of others that is named where images are built or run, without a digest.
named() {
  {
    sed -n 's/^ARG BASE=//p' infra/docker/Dockerfile
    grep -rhoE 'image(Name)?: *[^ ]+' infra/k8s/sources | sed -e 's/image[Name]*: *//' -e '/^registry\.invalid\//d'
  } | sort -u
}
known() { sed -n "s|^$1 \(sha256:[0-9a-f]\{64\}\)\$|\1|p" "$lock"; } # image

unpinned() { say "$1 has no digest; run infra/docker/pin.sh where its registry answers, and commit $lock"; } # image

case "${1:-}" in
--check)
  code=0
  for image in $(named); do
    [ -n "$(known "$image")" ] || { unpinned "$image"; code=1; }
  done
  exit "$code"
  ;;
--base)
  base=$(sed -n 's/^ARG BASE=//p' infra/docker/Dockerfile)
  [ -n "$(known "$base")" ] || { unpinned "$base"; exit 1; }
  echo "$base@$(known "$base")"
  exit
  ;;
'') ;;
*) say "usage: pin.sh [--check|--base]"; exit 2 ;;
esac

crane=$(infra/docker/go_tool.sh crane)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n '/^#/p' "$lock" >"$work/lock"
code=0
for image in $(named); do
  asked=$image
  [ -z "${MIRROR:-}" ] || asked=$MIRROR/${image#docker.io/}
  if ! digest=$(timeout 60 "$crane" digest "$asked" 2>"$work/why"); then
    say "$image: $(tail -n 1 "$work/why")"
    digest=$(known "$image") code=3
  fi
  echo "$image ${digest:--}" >>"$work/lock"
done
grep "^$REGISTRY/" "$lock" >>"$work/lock" || true
cat "$work/lock" >"$lock"
[ "$code" = 0 ] && say "$(grep -c ' sha256:' "$lock") images pinned in $lock; run infra/k8s/render and commit both"
exit "$code"
