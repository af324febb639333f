#!/bin/sh
# usage: infra/mutants.sh VENV [PATTERN…]   changes quantstream/core in small ways, one after the other, and runs the core's own tests
# Everything happens in build/mutants: a copy of the tree, and mutmut in an environment of its own. docs/MUTANTS.md says what was found.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/$1/bin/python work=$root/build/mutants
shift
packages() { "$1" -c 'import site; print(site.getsitepackages()[0])'; }

mkdir -p "$work"
if ! [ -x "$work/venv/bin/mutmut" ]; then
  "$python" -m venv "$work/venv"
  packages "$python" >"$(packages "$work/venv/bin/python")/project.pth"
  "$work/venv/bin/python" -m pip install -q 'mutmut==3.8.1'
fi
(cd "$root" && git ls-files -z quantstream streaming ml tests/unit | xargs -0 tar c) | tar x -C "$work"
cd "$work"
cat >tests/conftest.py <<'END'
from hypothesis import Phase, settings

settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutants")  # a failing example is enough: it need not be the smallest
END
cat >pyproject.toml <<'END'
[tool.mutmut]
source_paths = ["quantstream"]
only_mutate = ["quantstream/core/*"]
also_copy = ["streaming", "ml"]
pytest_add_cli_args = ["-q", "-x", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = ["tests/unit/quantstream/core"]
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 5.0
timeout_constant = 5.0

[tool.pytest.ini_options]
pythonpath = ["."]
addopts = "--import-mode=importlib"
asyncio_mode = "auto"
END
OPENBLAS_NUM_THREADS=1 venv/bin/mutmut run --max-children 2 "$@"
venv/bin/mutmut results
