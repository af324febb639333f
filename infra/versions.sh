#!/bin/sh
# `make check` on every Python that README names: in .venv for the one that it has, in environments under build/ for the others.
# usage: versions.sh [VERSION...]      honours QUANTSTREAM_PYTHON_3_12=/path/to/python and the like
#        versions.sh --others          on all but the one that .venv has, for which `make test` has just run
# exit 0: all are well; 1: one is not; 3: the others are, but one is not installed here and so was not checked
set -eu
cd "$(dirname "$0")/.."
say() { printf 'versions: %s\n' "$*" >&2; }
is() { [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]; } # python version

case "${1:-}" in
'' | --others)
  all='3.11 3.12 3.13' others=''
  for version in $all; do is .venv/bin/python "$version" || others="$others $version"; done
  # shellcheck disable=SC2086  # versions, one a word
  if [ $# = 0 ]; then set -- $all; else set -- $others; fi
  ;;
esac

find_python() { # version
  named=$(printenv "QUANTSTREAM_PYTHON_$(echo "$1" | tr . _)" || true)
  if [ -n "$named" ]; then
    if is "$named" "$1"; then echo "$named"; else say "$named is no Python $1"; fi
    return
  fi
  for candidate in "python$1" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python "$HOME/.local/share/uv/python/cpython-$1".*/bin/python; do
    if is "$candidate" "$1"; then echo "$candidate"; return; fi
  done
}

failed='' missing=''
for version in "$@"; do
  if is .venv/bin/python "$version"; then venv=.venv python=.venv/bin/python
  else venv=build/python$version python=$(find_python "$version"); fi
  if [ -z "$python" ]; then
    missing="$missing $version"
    say "PYTHON $version IS NOT INSTALLED HERE AND WAS NOT CHECKED; install it (pyenv install $version, uv python install $version) or name it: QUANTSTREAM_PYTHON_$(echo "$version" | tr . _)=/path/to/python"
    continue
  fi
  say "make check on Python $version, in $venv"
  make check VENV="$venv" QUANTSTREAM_PYTHON="$python" || failed="$failed $version"
done

[ -z "$failed" ] || { say "make check fails on Python$failed"; exit 1; }
[ -z "$missing" ] || { say "all is well where it was checked; NOT CHECKED: Python$missing"; exit 3; }
say "make check is well on Python $*"
