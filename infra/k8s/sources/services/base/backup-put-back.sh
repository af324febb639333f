#!/bin/sh
# Puts the dumps in the folder $1 back into their databases, each in one transaction: all of it or nothing.
# Nobody else may be connected: Airflow and MLflow are scaled to none before. The login must be that of the server's administrator.
set -eu
for database in airflow mlflow mlflow_login; do
  pg_restore --list "$1/$database.dump" >/dev/null
  busy=$(psql --no-psqlrc --tuples-only --no-align --dbname postgres --command "SELECT count(*) FROM pg_stat_activity WHERE datname = '$database'")
  [ "$busy" = 0 ] || { echo "$database has $busy sessions; scale Airflow and MLflow to none first, then create this job again" >&2; exit 1; }
done
for database in airflow mlflow mlflow_login; do
  owner=${database%_login}
  {
    # what a newer release made goes as well, or its next upgrade would find it there
    printf 'SET ROLE "%s";\nDROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n' "$owner"
    pg_restore --no-owner --no-privileges --file - "$1/$database.dump"
  } >"$1/$database.sql"
  psql --no-psqlrc --quiet --output /dev/null --set ON_ERROR_STOP=1 --single-transaction --dbname "$database" --file "$1/$database.sql"
  echo "$database is back"
done
