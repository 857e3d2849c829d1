#!/bin/sh
# Exits with 0 if Dagster's daemon of this container has iterated within three minutes. The probe of
# containers: it takes milliseconds, as it starts no Python.
set -eu
file=${STATE_DIR:?}/dagster/daemon_alive
[ -n "$(find "$file" -mmin -3)" ] || { echo "no iteration of the daemon since $(date -r "$file")" >&2; exit 1; }
