#!/usr/bin/env bash
# Back up Dagster's database, the project's database and the artifacts, in this order (docs/how-to/back-up.md).
# Usage: back-up.sh FOLDER, with STATE_DIR, DATABASE_URL and DAGSTER_DATABASE_URL as in .env.
set -euo pipefail
folder=${1:?usage: back-up.sh FOLDER}
time=$(date --utc +%Y%m%dT%H%M%SZ)
umask 077
mkdir -p "$folder/artifacts"

dump() { # a dump that fails leaves none that looks complete
  pg_dump --format=custom --file="$folder/$1.part" "$2"
  mv "$folder/$1.part" "$folder/$1-$time.dump"
}
dump dagster "$DAGSTER_DATABASE_URL"
dump pipelines "$DATABASE_URL"
rsync --archive "$STATE_DIR/artifacts/" "$folder/artifacts/"
find "$folder" -maxdepth 1 -name '*.dump' -mtime +14 -delete
