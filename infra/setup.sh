#!/bin/sh
# Makes the virtual environment with the locked packages, on a machine with nothing but Python.
# usage: setup.sh VENV      honours QUANTSTREAM_PYTHON
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}

say() { printf '%s\n' "$*" >&2; }
fail() { say "setup: $*"; exit 2; }

# 0 when $1 is a Python that every package supports
supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }
version() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_uv() {
  for candidate in uv "$venv/uv/bin/uv"; do
    if "$candidate" --version >/dev/null 2>&1; then echo "$candidate"; return; fi
  done
}

find_python() {
  if [ -n "${QUANTSTREAM_PYTHON:-}" ]; then
    supported "$QUANTSTREAM_PYTHON" || fail "QUANTSTREAM_PYTHON=$QUANTSTREAM_PYTHON is not a Python 3.11, 3.12 or 3.13 that runs"
    echo "$QUANTSTREAM_PYTHON"; return
  fi
  fallback=
  for candidate in python3 python3.12 python3.13 python3.11 python /usr/bin/python3; do
    supported "$candidate" || continue
    if can_make_venv "$candidate"; then echo "$candidate"; return; fi
    fallback=${fallback:-$candidate}
  done
  echo "$fallback"
}

make_venv() {
  python=$(find_python)
  uv=$(find_uv)
  if [ -z "$python" ]; then
    found=$(version python3 || true)
    only=${found:+only $found}
    fail "Python 3.11, 3.12 or 3.13 is needed and ${only:-none} was found; install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make setup QUANTSTREAM_PYTHON=/path/to/python3.12"
  fi
  say "Making $venv with Python $(version "$python")"
  if [ -n "$uv" ]; then
    "$uv" venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" "$venv"
  elif can_make_venv "$python"; then
    "$python" -m venv "$venv"
  else
    fail "$("$python" -c 'import sys; print(sys.executable)') cannot make virtual environments (it has no ensurepip); install one of: apt install python3-venv, or pip install uv"
  fi
}

if [ -d "$venv" ] && ! supported "$venv/bin/python"; then
  say "$venv does not work any more; making it anew"
  rm -rf "$venv"
fi
[ -d "$venv" ] || make_venv

uv=$(find_uv)
if [ -z "$uv" ]; then
  say "Fetching uv, which installs the rest quickly"
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then  # made by uv once, which is gone since
    "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || fail "$venv has no pip to fetch uv with; install uv (pip install uv), or remove $venv and try again"
  fi
  "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --target "$venv/uv" --require-hashes --requirement infra/docker/locks/uv.txt
  uv=$(find_uv)
fi

# Exactly what is locked: what an older lock brought is removed.
say "Installing $(grep -c '==' requirements.txt) locked packages"
"$uv" pip sync --require-hashes --python "$venv/bin/python" requirements.txt
"$uv" pip install --python "$venv/bin/python" --no-deps --quiet --editable .

# Else the first start of each stage would do it.
say "Compiling the loops over trades"
"$venv/bin/python" -m quantstream.decode.warm
