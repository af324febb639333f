#!/bin/sh
# Makes every secret that the manifests refer to, with fresh random values, and leaves those alone that are there.
# usage: secrets.sh [--plain] [--print] [NAMESPACE]   asks and writes with kubectl; Airflow's go to NAMESPACE-airflow
#   --plain  without logins to Kafka: the one broker of one machine asks for none
#   --print  prints them instead, for a sealed store; nothing is asked or written
# Logins to Kafka are not among them, but for that of tasks, which two namespaces hold: the user operator makes the others.
set -eu
kubectl() { command kubectl ${CONTEXT:+--context "$CONTEXT"} "$@"; }
plain='' print=''
while :; do
  case ${1:-} in
    --plain) plain=1 ;;
    --print) print=1 ;;
    *) break ;;
  esac
  shift
done
stages=${1:-quantstream}
airflow=$stages-airflow

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

# manifest NAMESPACE NAME KEY=VALUE…: the values reach kubectl through files, never through a command line that others can list
manifest() {
  space=$1 name=$2
  shift 2
  folder=$(mktemp -d)
  files=
  for pair in "$@"; do
    printf '%s' "${pair#*=}" > "$folder/${pair%%=*}"
    files="$files --from-file=${pair%%=*}=$folder/${pair%%=*}"
  done
  # shellcheck disable=SC2086  # the flags are words of their own; keys and the folder have no spaces
  kubectl --namespace "$space" create secret generic "$name" $files --dry-run=client --output yaml
  rm -rf "$folder"
}

# make NAMESPACE NAME KEY=VALUE…: a secret that is there stays as it is
make() {
  if [ -n "$print" ]; then
    manifest "$@"
    echo ---
  elif kubectl --namespace "$1" get secret "$2" >/dev/null 2>&1; then
    echo "secret/$2 is there" >&2
  else
    manifest "$@" | kubectl create --filename -
  fi
}

# derive NAMESPACE NAME KEY=VALUE…: a secret that only says what others do follows them
derive() {
  if [ -n "$print" ]; then make "$@"; else manifest "$@" | kubectl apply --server-side --force-conflicts --filename -; fi
}

# kept NAMESPACE SECRET KEY: the value that is there already; what several secrets share must stay the same
kept() { [ -n "$print" ] || kubectl --namespace "$1" get secret "$2" --output "jsonpath={.data.$3}" 2>/dev/null | base64 -d; }
# either VALUE VALUE…: the first that is not empty
either() { for value in "$@"; do [ -z "$value" ] || { printf '%s' "$value"; return; }; done; }

mlflow_database=$(either "$(kept "$stages" postgres-logins mlflow-password)" "$(kept "$stages" postgres mlflow-password)" "$(random)")
airflow_database=$(either "$(kept "$stages" postgres-logins airflow-password)" "$(kept "$stages" postgres airflow-password)" "$(random)")
backup_database=$(either "$(kept "$stages" postgres-logins backup-password)" "$(random)")
mlflow_admin=$(either "$(kept "$stages" mlflow admin-password)" "$(random)")
trainer=$(either "$(kept "$stages" mlflow-trainer password)" "$(random)")
operations=$(either "$(kept "$stages" kafka-operations password)" "$(random)")

# The administrator's password stays in the server's pod. Each other login has a second one, -b, for while passwords are rotated.
make "$stages" postgres "password=$(random)"
make "$stages" postgres-logins "mlflow-password=$mlflow_database" "airflow-password=$airflow_database" "backup-password=$backup_database" \
  "mlflow-b-password=$(random)" "airflow-b-password=$(random)" "backup-b-password=$(random)"
make "$stages" postgres-backup "username=backup" "password=$backup_database"

# One user of the object store a role; what each may do: sources/infrastructure/base/policies. The root key stays in the store's pod.
make "$stages" objects "access-key=quantstream" "secret-key=$(random)"
users=
for role in sink score dashboard replay mlflow backup restore tasks; do
  space=$stages
  [ "$role" != tasks ] || space=$airflow
  key=$(either "$(kept "$space" "objects-$role" secret-key)" "$(random)")
  make "$space" "objects-$role" "access-key=$role" "secret-key=$key"
  users="$users${users:+, }\"$role\": {\"access\": \"$role\", \"secret\": \"$key\", \"role\": \"user\"}"
done
derive "$stages" objects-users "users.json={\"accessAccounts\": {$users}}"

make "$stages" mlflow \
  "database-uri=postgresql+psycopg2://mlflow:$mlflow_database@postgres:5432/mlflow" \
  "session-key=$(random)" \
  "admin-username=quantstream" \
  "admin-password=$mlflow_admin" \
  "basic-auth=[mlflow]
default_permission = READ
database_uri = postgresql+psycopg2://mlflow:$mlflow_database@postgres:5432/mlflow_login
admin_username = quantstream
admin_password = $mlflow_admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"
make "$stages" mlflow-reader "username=reader" "password=$(random)"
make "$stages" mlflow-trainer "username=trainer" "password=$trainer"
make "$airflow" mlflow-trainer "username=trainer" "password=$trainer"

if [ -z "$plain" ]; then
  make "$stages" keda-kafka "sasl=scram_sha512" "tls=enable" "username=keda"
  make "$stages" kafka-operations "password=$operations"
  make "$airflow" kafka-operations "password=$operations"
fi

# Airflow was in the stages' namespace once: what it encrypted is read with the key from there.
make "$airflow" airflow-database "connection=postgresql+psycopg2://airflow:$airflow_database@postgres.$stages:5432/airflow"
make "$airflow" airflow-fernet-key "fernet-key=$(either "$(kept "$stages" airflow-fernet-key fernet-key)" "$(fernet)")"
make "$airflow" airflow-api-secret-key "api-secret-key=$(random)"
make "$airflow" airflow-jwt-secret "jwt-secret=$(random)"
make "$airflow" airflow-admin "password=$(either "$(kept "$stages" airflow-admin password)" "$(random)")"
