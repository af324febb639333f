#!/bin/sh
# Makes sure that there is a promtool to check the alert rules with: an installed one, else the one in the distribution's package.
# usage: promtool.sh      prints its path; without one it says so and ends with 0, for the rules are parsed in any case
set -eu
cache=${QUANTSTREAM_CACHE:-$HOME/.cache/quantstream}/promtool

if path=$(command -v promtool); then echo "promtool: $path"; exit 0; fi
if [ -x "$cache/promtool" ]; then echo "promtool: $cache/promtool"; exit 0; fi
if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # Debian's archive changes: lists that are old name files that are gone.
  if (cd "$work" && { apt-get -q download prometheus || { [ "$(id -u)" = 0 ] && apt-get -q update && apt-get -q download prometheus; }; }) >"$work/log" 2>&1; then
    mkdir -p "$cache"
    dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool
    mv "$work/usr/bin/promtool" "$cache/promtool"
    echo "promtool: $cache/promtool"
    exit 0
  fi
fi
echo "promtool: NONE COULD BE HAD; install prometheus to have the alert rules evaluated as well as parsed" >&2
