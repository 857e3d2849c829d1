#!/bin/sh
# Databases and accounts at the first start: one for loaded data, one for Dagster's own storage.
# The passwords are read by psql itself, so no command line shows them.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set orchestration_password `cat /run/secrets/orchestration_password`
\set dagster_password `cat /run/secrets/dagster_password`
\set exporter_password `cat /run/secrets/exporter_password`
\set reader_password `cat /run/secrets/reader_password`
CREATE ROLE dashboards_reader LOGIN CONNECTION LIMIT 10 PASSWORD :'reader_password';
ALTER ROLE dashboards_reader SET default_transaction_read_only = on;
ALTER ROLE dashboards_reader SET statement_timeout = '15s';
CREATE ROLE exporter LOGIN CONNECTION LIMIT 5 PASSWORD :'exporter_password' IN ROLE pg_monitor;
CREATE ROLE orchestration LOGIN PASSWORD :'orchestration_password';
CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE pipelines OWNER orchestration ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE dagster OWNER dagster ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE pipelines, dagster FROM PUBLIC;
GRANT CONNECT ON DATABASE pipelines TO exporter;
SQL
