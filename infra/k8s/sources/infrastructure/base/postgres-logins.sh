#!/bin/sh
# Makes Postgres' databases, each with an owner that sees nothing of the others, and a login for backups that reads all.
# It runs beside the server, or against one elsewhere: at every start, whenever a password in the folder $1 changes, and every five minutes,
# for a server may have been put back as it was before.
# Each owner has a second login (-b), which acts as the owner: while passwords are rotated both are good.
# The server is named by PGHOST and so on; the login must be one that may make roles.
set -eu
trap 'exit 0' TERM
sql() { psql --no-psqlrc --quiet --tuples-only --set ON_ERROR_STOP=1 --username "${PGUSER:-postgres}" "$@"; }

# login NAME: with the password in the file NAME-password, which psql reads itself: a command line can be read by others
login() {
  sql --dbname postgres --set user="$1" --set file="$folder/$1-password" <<'SQL'
\set password `cat :file`
SELECT format('CREATE ROLE %I', :'user') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
ALTER ROLE :"user" LOGIN PASSWORD :'password';
SQL
}

# both NAME: a role and its second login
both() {
  login "$1"
  login "$1-b"
  sql --dbname postgres --set user="$1" --set second="$1-b" <<'SQL'
GRANT :"user" TO :"second";
ALTER ROLE :"second" SET role TO :'user';
SQL
}

# database NAME OWNER
database() {
  sql --dbname postgres --set database="$1" --set owner="$2" <<'SQL'
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE CONNECT ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO backup;
SQL
}

apply() {
  both backup
  both mlflow
  both airflow
  both studies
  sql --dbname postgres <<'SQL'
GRANT pg_read_all_data TO backup;
ALTER ROLE backup SET default_transaction_read_only TO on;
ALTER ROLE "backup-b" SET default_transaction_read_only TO on;
SQL
  database mlflow mlflow
  database mlflow_login mlflow
  database airflow airflow
  database studies studies
}

folder=$1
last='' waited=0
until pg_isready --quiet; do sleep 1; done
while :; do
  now=$(cat "$folder"/*-password | sha256sum)
  if [ "$now" != "$last" ] || [ "$waited" -ge 300 ]; then
    apply
    [ "$now" = "$last" ] || echo "databases and logins are there"
    last=$now waited=0
  fi
  touch "${APPLIED:-/tmp/applied}"
  [ -z "${ONCE:-}" ] || exit 0
  sleep 5 &
  wait $!
  waited=$((waited + 5))
done
