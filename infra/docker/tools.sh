#!/bin/sh
# Makes sure that there is something to build and run images with: buildah, podman with runc; on Debian as root, by apt.
# usage: tools.sh [TOOL…]   more to have, e.g. for pods with addresses of their own: iptables catatonit
set -eu
say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
missing=
PATH=$PATH:/usr/sbin:/usr/libexec/podman
for tool in buildah podman runc debootstrap "$@"; do
  have "$tool" || missing="$missing $tool"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && have apt-get; then
  say "Installing$missing"
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of names
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $missing netavark ca-certificates >/dev/null
else
  say "images: not found:$missing. Install them (Debian, Ubuntu: apt install$missing)"
  exit 2
fi
