#!/bin/sh
# Makes every secret that the manifests refer to, with fresh random values, and leaves those alone that are there.
# usage: secrets.sh [--plain] [--print] [--renew a|b] [NAMESPACE]   asks and writes with kubectl; Airflow's go to NAMESPACE-airflow
#   --plain  without logins to Kafka: the one broker of one machine asks for none
#   --print  prints them instead, for a sealed store; nothing is asked or written
#   --renew a|b  gives every login of one of the two sets a new password: for `rotate`, which knows when nobody uses it
# Everybody who logs in has two logins, NAME and NAME-b (the sets a and b), so that passwords change without anybody locked out. Servers
# know both (secrets named …-logins); pods read the one in use (objects-ROLE, kafka-ROLE, mlflow-reader …), as the ConfigMap `logins` says.
set -eu
# shellcheck source=infra/k8s/versions.conf
. "$(dirname "$0")/versions.conf"
kubectl() { command kubectl ${CONTEXT:+--context "$CONTEXT"} "$@"; }
plain='' print='' renew=''
while :; do
  case ${1:-} in
    --plain) plain=1 ;;
    --print) print=1 ;;
    --renew)
      case ${2:-} in a | b) renew=$2 ;; *) echo "secrets.sh: --renew takes a or b" >&2; exit 2 ;; esac
      shift
      ;;
    *) break ;;
  esac
  shift
done
stages=${1:-quantstream}
airflow=$stages-airflow

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

# manifest NAMESPACE NAME KEY=VALUE…: written by the shell itself, so that no value is ever in a command line that others can list
manifest() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\ndata:\n' "$2" "$1"
  shift 2
  for pair in "$@"; do printf '  %s: "%s"\n' "${pair%%=*}" "$(printf '%s' "${pair#*=}" | base64 | tr -d '\n')"; done
}

# What there is, read once: a line NAMESPACE/NAME/ a secret, and NAMESPACE/NAME/KEY=VALUE a value. Where it cannot be read nothing is
# made: a login that is only thought to be missing would get another password.
there=
# shellcheck disable=SC2016  # kubectl's own variables
[ -n "$print" ] || for space in "$stages" "$airflow"; do
  found=$(kubectl --namespace "$space" get secrets --output 'go-template={{range .items}}{{$of := printf "%s/%s/" .metadata.namespace
    .metadata.name}}{{$of}}{{"\n"}}{{range $key, $value := .data}}{{$of}}{{$key}}={{$value}}{{"\n"}}{{end}}{{end}}')
  there="$there$found
"
done
is_there() { case "
$there" in *"
$1/$2/"*) ;; *) return 1 ;; esac; }

# make NAMESPACE NAME KEY=VALUE…: a secret that is there stays as it is
make() {
  if [ -n "$print" ]; then
    manifest "$@"
  elif is_there "$1" "$2"; then
    echo "secret/$2 is there" >&2
  else
    manifest "$@" | kubectl create --filename -
  fi
}

# derive NAMESPACE NAME KEY=VALUE…: a secret that only says what others do follows them; all are sent together, at the end
derived=
[ -n "$print" ] || { derived=$(mktemp) && trap 'rm -f "$derived"' EXIT; }
derive() { if [ -n "$print" ]; then manifest "$@"; else manifest "$@" >> "$derived"; fi; }

# kept NAMESPACE SECRET KEY: the value that is there already; what several secrets share must stay the same
kept() { printf '%s\n' "$there" | sed -n "s|^$1/$2/$3=||p" | base64 -d; }
# either VALUE VALUE…: the first that is not empty
either() { for value in "$@"; do [ -z "$value" ] || { printf '%s' "$value"; return; }; done; }

# load NAMESPACE SECRET: which one `held` reads
load() { loaded_from=$1 loaded=$2; }
held() { kept "$loaded_from" "$loaded" "$1"; }
# of "NAME=VALUE …" NAME
of() { printf '%s\n' "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }

# password NAME SET VALUE…: of a login, as it is held, or as an installation of before has it, or new
password() {
  name=$1 set=$2
  shift 2
  if [ "$set" = "$renew" ]; then random; else either "$(held "$name")" "$@" "$(random)"; fi
}

in_use=a
[ -n "$print" ] || in_use=$(kubectl --namespace "$stages" get configmap logins --ignore-not-found --output 'jsonpath={.data.in-use}')
in_use=${in_use:-a}
case $in_use in b) second=-b ;; *) second= ;; esac

# The administrator's stays in the pods of the server, of who makes logins, and of a restore. A managed one's is made by hand: what is there stays.
address=$POSTGRES
[ -z "$plain" ] || address=postgres # one machine has its own
load "$stages" postgres
derive "$stages" postgres "host=$(either "$(held host)" "$address")" "username=$(either "$(held username)" postgres)" \
  "password=$(either "$(held password)" "$(random)")"
load "$stages" postgres-logins
logins=
for owner in mlflow airflow studies backup; do
  before=$(kept "$stages" postgres "$owner-password")
  logins="$logins $owner-password=$(password "$owner-password" a "$before") $owner-b-password=$(password "$owner-b-password" b)"
done
# shellcheck disable=SC2086  # several words
derive "$stages" postgres-logins $logins
near=$address far=$address # from the stages' namespace, and from Airflow's
[ "$address" != postgres ] || far=postgres.$stages
derive "$stages" postgres-backup "host=$near" "username=backup$second" "password=$(of "$logins" "backup$second-password")"
mlflow_database=postgresql+psycopg2://mlflow$second:$(of "$logins" "mlflow$second-password")@$near:5432
studies_database=postgresql+psycopg2://studies$second:$(of "$logins" "studies$second-password")@$far:5432
airflow_database=postgresql+psycopg2://airflow$second:$(of "$logins" "airflow$second-password")@$far:5432

# Users of the object store; what each may do: sources/infrastructure/base/policies. The root key stays in the store's pod.
make "$stages" objects "access-key=quantstream" "secret-key=$(random)"
roles="sink score dashboard replay mlflow backup restore databases tasks"
load "$stages" objects-logins
logins=
for role in $roles; do
  space=$stages
  [ "$role" != tasks ] || space=$airflow
  before=
  [ -n "$(held "$role")" ] || before=$(kept "$space" "objects-$role" secret-key)
  logins="$logins $role=$(password "$role" a "$before") $role-b=$(password "$role-b" b)"
done
users=
for pair in $logins; do
  users="$users${users:+, }\"${pair%%=*}\": {\"access\": \"${pair%%=*}\", \"secret\": \"${pair#*=}\", \"role\": \"user\"}"
done
# shellcheck disable=SC2086
derive "$stages" objects-logins $logins
derive "$stages" objects-users "users.json={\"accessAccounts\": {$users}}"
for role in $roles; do
  space=$stages
  [ "$role" != tasks ] || space=$airflow
  where= # the server's own backups read the address there, too, as they do of a store elsewhere
  [ "$role" != databases ] || where="endpoint-url=http://objects:7070 region=us-east-1"
  # shellcheck disable=SC2086
  derive "$space" "objects-$role" "access-key=$role$second" "secret-key=$(of "$logins" "$role$second")" $where
done

load "$stages" mlflow-logins
logins=
for user in reader trainer; do
  before=
  [ -n "$(held "$user")" ] || before=$(kept "$stages" "mlflow-$user" password)
  logins="$logins $user=$(password "$user" a "$before") $user-b=$(password "$user-b" b)"
done
# shellcheck disable=SC2086
derive "$stages" mlflow-logins $logins
derive "$stages" mlflow-reader "username=reader$second" "password=$(of "$logins" "reader$second")"
derive "$stages" mlflow-trainer "username=trainer$second" "password=$(of "$logins" "trainer$second")"
derive "$airflow" mlflow-trainer "username=trainer$second" "password=$(of "$logins" "trainer$second")"
load "$stages" mlflow
mlflow_admin=$(either "$(held admin-password)" "$(random)")
derive "$stages" mlflow \
  "database-uri=$mlflow_database/mlflow" \
  "session-key=$(either "$(held session-key)" "$(random)")" \
  "admin-username=quantstream" \
  "admin-password=$mlflow_admin" \
  "basic-auth=[mlflow]
default_permission = READ
database_uri = $mlflow_database/mlflow_login
admin_username = quantstream
admin_password = $mlflow_admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"

if [ -z "$plain" ]; then
  users="ingest aggregate detect sink score dashboard operations keda"
  for set in a b; do
    suffix=
    [ "$set" = a ] || suffix=-b
    load "$stages" "kafka-logins$suffix"
    logins=
    for user in $users; do
      before=
      [ "$set" = b ] || [ -n "$(held "$user")" ] || before=$(kept "$stages" "$user" password)
      logins="$logins $user=$(password "$user" "$set" "$before")"
    done
    # shellcheck disable=SC2086
    derive "$stages" "kafka-logins$suffix" $logins
    [ "$set" != "$in_use" ] || used=$logins
  done
  for user in $users; do
    [ "$user" != keda ] || continue
    derive "$stages" "kafka-$user" "username=$user$second" "password=$(of "$used" "$user")"
  done
  derive "$airflow" kafka-operations "username=operations$second" "password=$(of "$used" operations)"
  derive "$stages" keda-kafka "sasl=scram_sha512" "tls=enable" "username=keda$second" "password=$(of "$used" keda)"
fi

# Airflow was in the stages' namespace once: what it encrypted is read with the key from there.
derive "$airflow" airflow-database "connection=$airflow_database/airflow"
# of the database that searches for models' settings share (QUANTSTREAM_STUDIES): for who begins one, no pod has it by itself
derive "$airflow" studies "url=$studies_database/studies"
make "$airflow" airflow-fernet-key "fernet-key=$(either "$(kept "$stages" airflow-fernet-key fernet-key)" "$(fernet)")"
make "$airflow" airflow-api-secret-key "api-secret-key=$(random)"
make "$airflow" airflow-jwt-secret "jwt-secret=$(random)"
make "$airflow" airflow-admin "password=$(either "$(kept "$stages" airflow-admin password)" "$(random)")"
[ -n "$print" ] || kubectl apply --server-side --force-conflicts --filename "$derived"
