-- The role of Grafana's dashboards: it reads the views of the schema dashboards, nothing else.
-- The owner of the tables runs this, again after each upgrade; the first time with the right to
-- create roles, if `up` has not made the role:
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -1 -f deploy/grafana/reader.sql -c '\password dashboards_reader'

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dashboards_reader') THEN
    CREATE ROLE dashboards_reader LOGIN CONNECTION LIMIT 10;
    ALTER ROLE dashboards_reader SET default_transaction_read_only = on;
    ALTER ROLE dashboards_reader SET statement_timeout = '15s';
  END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO dashboards_reader', current_database());
END $$;

DROP SCHEMA IF EXISTS dashboards CASCADE;
CREATE SCHEMA dashboards;

-- Neither run configs nor texts of errors: they may have names of persons.
CREATE VIEW dashboards.runs AS
  SELECT run_id, job, domain, partition_key, status, created_at, started_at, ended_at, duration_seconds,
    rows_in, rows_landed, rows_rejected, byte_count, trigger_kind, error_category, retry_of, trace_id
  FROM operations_runs;

CREATE VIEW dashboards.days AS
  SELECT (ended_at AT TIME ZONE 'UTC')::date AS day, domain, count(*) AS run_count,
    count(*) FILTER (WHERE status = 'FAILURE') AS failure_count,
    sum(rows_landed) AS rows_landed, sum(rows_rejected) AS rows_rejected
  FROM operations_runs
  WHERE ended_at > now() - interval '28 days'
  GROUP BY 1, 2;

CREATE VIEW dashboards.objectives AS SELECT * FROM operations_slo;
CREATE VIEW dashboards.objective_days AS SELECT * FROM operations_slo_days;
CREATE VIEW dashboards.hosts AS SELECT * FROM operations_hosts;
CREATE VIEW dashboards.host_samples AS SELECT * FROM operations_host_samples;
CREATE VIEW dashboards.control_tower AS
  SELECT domain, asset, window_hours, state, run_count, success_count, failure_count, success_share,
    rows_landed, rows_rejected, last_landed_at, hours_late, looked_at
  FROM operations_control_tower;
CREATE VIEW dashboards.work_items AS
  SELECT topic, state, count(*) AS item_count, min(enqueued_at) AS oldest_at
  FROM work_items
  WHERE state IN ('ready', 'leased', 'failed', 'dead')
  GROUP BY topic, state;

GRANT USAGE ON SCHEMA dashboards TO dashboards_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA dashboards TO dashboards_reader;
