"""Storage of Dagster's own data."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Timer
from typing import Any

import dagster as dg
import dagster_postgres.utils
import psutil
import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.event import listen
from sqlalchemy.exc import OperationalError

from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance, postgres_url
from orchestration_project.settings import load_settings
from tests import programs


@dg.asset
def one():
    return None


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def settings(request, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    if request.param == "PostgreSQL":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    else:
        monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    return request.param


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_run_is_found_again_by_the_next_process_that_opens_the_instance(settings):
    with open_instance() as instance:
        run_id = dg.materialize([one], instance=instance).run_id
    with open_instance() as instance:
        assert run_id in [run.run_id for run in instance.get_runs()]
        assert type(instance.run_storage).__name__.lower().startswith(settings[:6].lower())


@pytest.mark.slow
def test_a_read_only_database_of_dagsters_is_named_at_the_start_and_within_a_run(
    postgres_url, tmp_path, monkeypatch
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    expected = "let it take writes again"
    with open_instance() as instance:
        run_storage: Any = instance.run_storage
        with run_storage.connect() as connection:
            connection.execute(text("SET SESSION default_transaction_read_only = on"))
            connection.commit()
            with (
                pytest.raises(ConfigurationError, match=expected),
                full_disk_explained(load_settings()),
            ):
                connection.execute(text("CREATE TABLE more (name text)"))
        dg.materialize([one], instance=instance)
    option = make_url(postgres_url).update_query_dict(
        {"options": "-c default_transaction_read_only=on"}
    )
    monkeypatch.setenv("DAGSTER_DATABASE_URL", option.render_as_string(hide_password=False))
    with pytest.raises(ConfigurationError, match=expected), open_instance():
        pass


@pytest.mark.slow_on_postgresql
def test_what_a_run_leaves_lies_below_state_dir(settings, tmp_path):
    with open_instance() as instance:
        dg.materialize([one], instance=instance)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert list(tmp_path.glob("state/dagster/compute_logs/*/compute_logs/*.complete"))


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_what_a_step_prints_is_kept_without_any_process_for_that(settings, tmp_path):
    own = psutil.Process()
    before = set(own.children())

    @dg.asset
    def printing():
        sys.stdout.write(f"{len(set(own.children()) - before)} processes")

    with open_instance() as instance:
        dg.materialize([printing], instance=instance)
    (kept,) = tmp_path.glob("state/dagster/compute_logs/*/compute_logs/*.out")
    assert kept.read_text() == "0 processes"


@pytest.mark.slow_after_first
def test_the_instance_that_dagster_passes_on_command_lines_holds_no_password(settings, tmp_path):
    with open_instance() as instance:
        text = str(instance.get_ref().to_dict())
    assert "postgresql" not in text
    assert str(tmp_path) not in text


def test_a_run_whose_tags_postgresql_refuses_is_not_stored_either(
    tmp_path, monkeypatch, postgres_url
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    run = dg.DagsterRun(job_name="j", tags={"source": "a NUL: \0"})
    with open_instance() as instance:
        with pytest.raises(ValueError, match="NUL"):
            instance.run_storage.add_run(run)
        assert not instance.has_run(run.run_id)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("storage", ["run_storage", "event_log_storage", "schedule_storage"])
def test_what_a_web_server_asks_of_postgresql_ends_after_its_time(
    storage, tmp_path, monkeypatch, postgres_url
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    with open_instance() as instance:
        instance.optimize_for_webserver(50, 3600, 20)
        found: Any = getattr(instance, storage)
        connect = found.index_connection if storage == "event_log_storage" else found.connect
        with connect() as connection, pytest.raises(OperationalError, match="statement timeout"):
            connection.execute(text("SELECT pg_sleep(5)"))


@pytest.mark.slow
def test_an_instance_waits_for_a_server_that_was_there_before(tmp_path, monkeypatch, postgres_url):
    url, folder = make_url(postgres_url), tmp_path / "server"
    real = Path(str(url.query["host"]))
    folder.symlink_to(real)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    moved = url.update_query_dict({"host": str(folder)})
    monkeypatch.setenv("DAGSTER_DATABASE_URL", moved.render_as_string(hide_password=False))
    with open_instance() as instance:
        before = instance.get_runs_count()
        folder.unlink()
        monkeypatch.setattr(dagster_postgres.utils, "retry_pg_connection_fn", lambda ask: ask())
        Timer(0.2, folder.symlink_to, [real]).start()
        assert instance.get_runs_count() == before
        assert dg.materialize([one], instance=instance).success


def test_a_web_server_notes_that_the_server_ended_its_connections(
    tmp_path, monkeypatch, postgres_url
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with open_instance() as instance, psycopg.connect(postgres_url, autocommit=True) as other:
        instance.optimize_for_webserver(5000, 3600, 20)
        before = instance.get_runs_count()
        assert other.execute(ended).fetchall()
        assert instance.get_runs_count() == before
        assert instance.all_logs("none") == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize("cut_by", ["server", "asset"])
def test_a_step_whose_event_could_not_be_stored_has_its_run_retried(
    cut_by, tmp_path, monkeypatch, postgres_url
):
    """The error of an asset, which has had its step's retries, retries no run."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)

    @dg.asset
    def cut():
        if cut_by == "asset":
            raise OperationalError("SELECT 1", {}, ValueError("the asset's database is away"))

    def end_connection(connection: Any, _: Any, statement: str, *_others: Any) -> None:
        if cut_by == "server" and "INTO asset_event_tags" in statement:
            pid = connection.connection.dbapi_connection.info.backend_pid
            with psycopg.connect(postgres_url) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [pid])

    with open_instance() as instance:
        events: Any = instance.event_log_storage
        listen(events._engine, "before_cursor_execute", end_connection)
        run_id = dg.materialize([cut], instance=instance, raise_on_error=False).run_id
        run = instance.get_run_by_id(run_id)
    assert run
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert run.tags["dagster/will_retry"] == ("true" if cut_by == "server" else "false")


def messages_of(
    instance: dg.DagsterInstance, run_id: str, types: set[dg.DagsterEventType]
) -> list[str]:
    """Return the messages of a run's events, in their order."""
    records = instance.get_records_for_run(run_id, of_type=types, ascending=True).records
    return [str(record.event_log_entry.get_dagster_event().message) for record in records]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_the_end_of_a_run_that_several_processes_find_lost_is_stored_once(
    end, tmp_path, monkeypatch, postgres_url
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    with ExitStack() as stack:
        instances = [stack.enter_context(open_instance()) for _ in range(4)]
        job = dg.Definitions([one]).resolve_implicit_global_asset_job_def()
        run = instances[0].create_run_for_job(job)
        reports = [getattr(instance, f"report_run_{end}") for instance in instances]
        with ThreadPoolExecutor(len(reports)) as pool:
            found = list(pool.map(lambda report: report(run, "its process is gone"), reports))
        ends = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
        stored = messages_of(instances[0], run.run_id, ends)
        after = instances[0].get_run_by_id(run.run_id)
    assert len(found) == len(instances)
    assert stored == ["its process is gone"]
    assert after
    assert after.status.name == ("FAILURE" if end == "failed" else "CANCELED")


@pytest.mark.slow_after_first
def test_a_run_whose_process_was_killed_before_it_stored_its_status_has_succeeded(
    settings, monkeypatch
):
    with open_instance() as instance:
        with monkeypatch.context() as patch:
            patch.setattr(type(instance.run_storage), "handle_run_event", lambda *_: None)
            run_id = dg.materialize([one], instance=instance).run_id
        run = instance.get_run_by_id(run_id)
        assert run
        assert not run.is_finished
        instance.report_run_failed(run, "its process is gone")
        after = instance.get_run_by_id(run_id)
        ends = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS}
        assert len(messages_of(instance, run_id, ends)) == 1
        assert after
        assert after.status == dg.DagsterRunStatus.SUCCESS


@pytest.mark.slow
def test_what_a_run_says_of_its_own_failure_is_stored_after_it_was_given_up(
    tmp_path, monkeypatch, postgres_url
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)

    @dg.asset
    def given_up(context: dg.AssetExecutionContext):
        context.instance.report_run_failed(context.run, "no heartbeat")
        raise ValueError("the file is damaged")

    with open_instance() as instance:
        run_id = dg.materialize([given_up], instance=instance, raise_on_error=False).run_id
        first, own = messages_of(instance, run_id, {dg.DagsterEventType.RUN_FAILURE})
    assert first == "no heartbeat"
    assert "given_up" in own


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_each_way_to_write_a_postgresql_url_names_the_driver_that_dagster_brings(scheme):
    url = postgres_url(f"{scheme}://me:p%40ss@db:5433/dagster?sslmode=require")
    assert url == "postgresql+psycopg2://me:p%40ss@db:5433/dagster?sslmode=require"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@db/dagster",
        "me:secret@db",
        "postgresql://me:secret/dagster",
        "postgresql://me:x@secret@db/y",
    ],
)
def test_another_url_is_refused_without_quoting_its_password(url):
    with pytest.raises(ConfigurationError, match="DAGSTER_DATABASE_URL cannot be used") as refusal:
        postgres_url(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.slow
def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/dagster")
    with pytest.raises(ConfigurationError, match="Dagster's database cannot be reached") as refusal:
        open_instance()
    assert "expected: PostgreSQL at postgresql://127.0.0.1:1/dagster" in str(refusal.value)
    assert "Connection refused" in str(refusal.value)
    assert "secret" not in str(refusal.value)


OPEN = "from orchestration_project.instance.storage import open_instance; open_instance()"


@pytest.mark.slow
def test_processes_that_create_the_storage_at_once_do_not_collide(tmp_path):
    for attempt in range(3):
        state_dir = tmp_path / str(attempt)
        opening = [programs.start(state_dir, "timeit", "-n1", "-r1", OPEN) for _ in range(4)]
        for process in opening:
            _, error = process.communicate(timeout=programs.PATIENCE_SECONDS)
            assert process.returncode == 0, error
