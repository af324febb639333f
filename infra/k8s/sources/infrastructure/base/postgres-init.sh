#!/bin/sh
# Runs once, when the data folder is empty: a database and a user each, which see nothing of one another.
set -eu
make() {
  psql --quiet --set ON_ERROR_STOP=1 --username postgres --set user="$1" --set password="$2" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password';
SQL
}
give() {
  psql --quiet --set ON_ERROR_STOP=1 --username postgres --set database="$1" --set user="$2" <<'SQL'
CREATE DATABASE :"database" OWNER :"user";
REVOKE CONNECT ON DATABASE :"database" FROM PUBLIC;
SQL
}
make mlflow "$MLFLOW_PASSWORD"
make airflow "$AIRFLOW_PASSWORD"
give mlflow mlflow
give mlflow_login mlflow
give airflow airflow
