#!/bin/sh
# Makes sure that there is a Chromium for the browser tests: an installed one, else the distribution's, else Playwright's own.
# usage: browser.sh VENV
set -eu
venv=${1:-.venv}

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if path=$(command -v "$name"); then echo "Browser: $path"; exit 0; fi
done
if find "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}" -maxdepth 1 -name '*chromium*' 2>/dev/null | grep -q .; then
  echo "Browser: Playwright's Chromium"; exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Chromium with apt"
  if apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium \
    && command -v chromium; then exit 0; fi
fi
echo "Installing Playwright's Chromium"
with_libraries=
if [ "$(id -u)" = 0 ]; then with_libraries=--with-deps; fi
"$venv/bin/python" -m playwright install $with_libraries chromium || {
  echo "browser: no Chromium could be installed; install chromium or google-chrome and try again" >&2
  exit 2
}
