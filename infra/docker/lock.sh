#!/bin/sh
# Compiles the lock of each image, with hashes, from the extras and groups of pyproject.toml.
# Versions are those of requirements.txt, which the tests ran with. usage: lock.sh [UV]
set -eu
cd "$(dirname "$0")/../.."
uv=${1:-uv}
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT

# nvidia-nccl is left out: a GPU library of 300 MB that XGBoost brings along and no pod here could use.
# lock ROLE EXCEPT ARGUMENT…   EXCEPT: packages that may differ from requirements.txt (a pattern)
lock() {
  role=$1 except=$2
  shift 2
  sed -n '/==/s/ *[\\#].*//p' requirements.txt | grep -vE "^($except)==" > "$constraints"
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
    --constraint "$constraints" --no-emit-package nvidia-nccl-cu12 --no-emit-package nvidia-nccl-cu13 --group pyproject.toml:image "$@" \
    --output-file "infra/docker/locks/$role.txt"
  printf '%-10s %s packages\n' "$role" "$(grep -c '==' "infra/docker/locks/$role.txt")" >&2
}

# uv itself, which installs all of these, on this machine and in images
printf 'uv\n' | "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
  --output-file infra/docker/locks/uv.txt -
lock streaming 'nothing' --extra streaming pyproject.toml
lock scoring 'nothing' --extra streaming --extra scoring pyproject.toml
lock dashboard 'nothing' --extra dashboard pyproject.toml
lock airflow 'python-dateutil|rich' --extra dags --extra ml --extra streaming --group pyproject.toml:image-airflow pyproject.toml
# a login page (FAB) and object storage (boto3) do not take the newest of these yet; nothing else in their images minds
lock mlflow 'python-dateutil' --group pyproject.toml:image-mlflow
