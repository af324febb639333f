#!/bin/sh
# Builds the documentation site into build/docs/site: pages from the repository, reference and topics from the code, links checked.
# usage: docs.sh VENV      MkDocs lives in an environment of its own, build/docs-venv
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}
tools=build/docs-venv
site=build/docs

if ! cmp -s docs/requirements.txt "$tools/installed.txt"; then
  printf 'Making %s\n' "$tools" >&2
  uv=$(command -v uv || echo "$venv/uv/bin/uv")
  rm -rf "$tools"
  if "$uv" --version >/dev/null 2>&1; then
    "$uv" venv --quiet --python "$venv/bin/python" "$tools"
    "$uv" pip install --quiet --python "$tools/bin/python" --require-hashes -r docs/requirements.txt
  else
    "$venv/bin/python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.txt
  fi
  cp docs/requirements.txt "$tools/installed.txt"
fi

"$venv/bin/python" -m infra.docs_site "$site"
NO_MKDOCS_2_WARNING=1 "$tools/bin/mkdocs" build --quiet --strict --config-file "$site/mkdocs.yml"
# Machines read the pages as they are written: llms.txt leads to them.
(cd "$site/pages" && find . -name '*.md' -exec sh -c 'mkdir -p "../site/$(dirname "$1")" && cp "$1" "../site/$1"' _ {} \;)
printf 'The site is in %s/site; python -m http.server --directory %s/site shows it\n' "$site" "$site"
