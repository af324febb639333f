#!/bin/sh
# Looks for known vulnerabilities in the locked packages, the images' too, and writes what the product consists of (CycloneDX) to build/sbom.json.
# usage: audit.sh VENV      exit 0 none known, 1 some are known, 3 cannot tell: nobody who knows could be reached
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}
tools=$venv/audit
python=$venv/bin/python
canary='jinja2==2.10' # has advisories since 2019: a service that knows of none knows nothing

locks="requirements.txt docs/requirements.txt $(echo infra/docker/locks/*.txt)"

say() { printf '%s\n' "$*"; }

if [ ! -x "$tools/bin/pip-audit" ] || [ ! -x "$tools/bin/cyclonedx-py" ]; then
  say "Making $tools"
  uv=$(command -v uv || echo "$venv/uv/bin/uv")
  rm -rf "$tools"
  if "$uv" --version >/dev/null 2>&1; then
    "$uv" venv --quiet --python "$python" "$tools"
    "$uv" pip install --quiet --python "$tools/bin/python" 'pip-audit>=2.9' 'cyclonedx-bom>=7'
  else
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9' 'cyclonedx-bom>=7'
  fi
fi

mkdir -p build
"$tools/bin/cyclonedx-py" requirements --output-reproducible --output-format JSON --output-file build/sbom.json requirements.txt
say "build/sbom.json: $("$python" -c 'import json; print(len(json.load(open("build/sbom.json"))["components"]))') components"

# Prints what a service says of a requirements file as JSON; false when it cannot be asked.
ask() { # service file
  "$tools/bin/pip-audit" --vulnerability-service "$1" --requirement "$2" --no-deps --disable-pip --format json --progress-spinner off --timeout 20
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$canary" >"$work/canary.txt"
# What its makers took back (PEP 592), which the registry itself tells; a release known to be taken back proves that it does.
yanked() {
  uv=$(command -v uv || echo "$venv/uv/bin/uv")
  "$uv" pip install --python "$python" --dry-run --no-deps --target "$work/none" --requirement "$1" 2>&1 | grep ' is yanked' || true
}
printf 'attrs==21.1.0\n' >"$work/yanked.txt"
if [ -z "$(yanked "$work/yanked.txt")" ]; then say 'audit: the registry does not tell which releases were taken back'
else
  for lock in $locks; do
    back=$(yanked "$lock")
    if [ -n "$back" ]; then say "$back"; say "audit: releases that were taken back are locked in $lock; run make lock"; exit 1; fi
  done
  say "audit: no locked release was taken back"
fi

for service in pypi osv; do
  ask "$service" "$work/canary.txt" >"$work/canary.json" 2>"$work/canary.log" || true # it ends with 1 when it finds something, too
  if ! "$python" infra/audit.py "$work/canary.json" --canary; then
    say "audit: $service does not know the advisories of $canary, or does not answer"
    continue
  fi
  worst=0
  for lock in $locks; do
    ask "$service" "$lock" >build/audit.json 2>"$work/log" || true
    say "$lock:"
    code=0
    "$python" infra/audit.py build/audit.json || code=$?
    case $worst$code in 0*|31) worst=$code ;; esac # a known one is worse than one that nobody could tell of
  done
  exit "$worst"
done
say "audit: CANNOT TELL. No advisory service could be reached; run it where api.osv.dev or pypi.org's JSON API answers." >&2
exit 3
