#!/bin/sh
# Makes every secret that the manifests refer to, with fresh random values, and leaves those alone that are there.
# usage: secrets.sh [NAMESPACE]          asks and writes with kubectl
#        secrets.sh --print [NAMESPACE]  prints them instead, for a sealed store; nothing is asked or written
# Logins to Kafka are not among them: the user operator makes those.
set -eu
kubectl() { command kubectl ${CONTEXT:+--context "$CONTEXT"} "$@"; }
print=
[ "${1:-}" = --print ] && { print=1; shift; }
namespace=${1:-quantstream}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

# make NAME KEY=VALUE…: the values reach kubectl through files, never through a command line that others can list
make() {
  name=$1
  shift
  if [ -z "$print" ] && kubectl --namespace "$namespace" get secret "$name" >/dev/null 2>&1; then
    echo "secret/$name is there" >&2
    return
  fi
  folder=$(mktemp -d)
  set -- "$@"
  files=
  for pair in "$@"; do
    printf '%s' "${pair#*=}" > "$folder/${pair%%=*}"
    files="$files --from-file=${pair%%=*}=$folder/${pair%%=*}"
  done
  # shellcheck disable=SC2086  # the flags are words of their own; keys and the folder have no spaces
  manifest=$(kubectl --namespace "$namespace" create secret generic "$name" $files --dry-run=client --output yaml)
  rm -rf "$folder"
  if [ -n "$print" ]; then
    printf '%s\n---\n' "$manifest"
  else
    printf '%s\n' "$manifest" | kubectl create --filename -
  fi
}

# of SECRET KEY: the value that is there already, else a new one; what several secrets share must stay the same
kept() {
  value=
  if [ -z "$print" ]; then
    value=$(kubectl --namespace "$namespace" get secret "$1" --output "jsonpath={.data.$2}" 2>/dev/null | base64 -d) || value=
  fi
  printf '%s' "${value:-$(random)}"
}

mlflow_database=$(kept postgres mlflow-password)
airflow_database=$(kept postgres airflow-password)
admin=$(kept mlflow reader-password)

make postgres "password=$(random)" "mlflow-password=$mlflow_database" "airflow-password=$airflow_database"
make objects "access-key=quantstream" "secret-key=$(random)"
# MLflow has one login of its own to begin with; give the stages another that may only read, and change it here.
make mlflow \
  "database-uri=postgresql+psycopg2://mlflow:$mlflow_database@postgres:5432/mlflow" \
  "session-key=$(random)" \
  "reader-username=quantstream" \
  "reader-password=$admin" \
  "basic-auth=[mlflow]
default_permission = READ
database_uri = postgresql+psycopg2://mlflow:$mlflow_database@postgres:5432/mlflow_login
admin_username = quantstream
admin_password = $admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"
make keda-kafka "sasl=scram_sha512" "tls=enable" "username=keda"
make airflow-database "connection=postgresql+psycopg2://airflow:$airflow_database@postgres:5432/airflow"
make airflow-fernet-key "fernet-key=$(fernet)"
make airflow-api-secret-key "api-secret-key=$(random)"
make airflow-jwt-secret "jwt-secret=$(random)"
make airflow-admin "password=$(random)"
