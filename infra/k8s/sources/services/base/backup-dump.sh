#!/bin/sh
# Dumps each database into the folder $1, in Postgres' custom format; a dump that cannot be read again is none.
# The server and the login are named by PGHOST, PGUSER and PGPASSWORD.
set -eu
for database in airflow mlflow mlflow_login; do
  pg_dump --no-password --format custom --dbname "$database" --file "$1/$database.part"
  pg_restore --list "$1/$database.part" >/dev/null
  mv "$1/$database.part" "$1/$database.dump"
  echo "$database: $(wc -c <"$1/$database.dump") bytes"
done
