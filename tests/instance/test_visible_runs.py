import os
import pwd
import shutil

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import TagType, get_tag_type
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from orchestration_project.engine.contracts.job_kinds import PRUNE_RUN_LOGS
from orchestration_project.instance.launcher import own_run_tags
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.ledger.rules.entries import CONFIG_TAG

MODULE = "orchestration_project.definitions"
LABEL = {".dagster/repository": f"__repository__@{MODULE}"}
LAUNCHED = RemoteJobOrigin(
    RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(
            LoadableTargetOrigin(module_name=MODULE), location_name=MODULE
        ),
        "__repository__",
    ),
    "finra_otc_weekly",
)


@pytest.fixture
def instance(tmp_path, monkeypatch, new_files):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    shutil.copytree(new_files, tmp_path / "dagster")
    with open_instance() as opened:
        yield opened


def executed_here(module=MODULE, **values):
    pointer = ModuleCodePointer(module, "defs", working_directory="/")
    origin = JobPythonOrigin("finra_otc_weekly", RepositoryPythonOrigin("python", pointer))
    return dg.DagsterRun("finra_otc_weekly", job_code_origin=origin, **values)


def stored(instance, run):
    instance.run_storage.add_run(run)
    return instance.get_run_by_id(run.run_id)


def test_a_run_that_a_process_executes_itself_is_listed_with_its_job(instance):
    run = stored(instance, executed_here())
    listed = instance.get_runs(dg.RunsFilter(job_name="finra_otc_weekly", tags=LABEL))
    assert [each.run_id for each in listed] == [run.run_id]
    assert run.tags["launched_by"] == "cli"


def test_lists_show_the_tags_that_people_filter_by(instance):
    """Dagster lists no tag with its hidden prefix; a filter by one finds the run all the same."""
    run = stored(instance, executed_here(tags={**own_run_tags(), CONFIG_TAG: "a1"}))
    shown = {name for name in run.tags if get_tag_type(name) == TagType.USER_PROVIDED}
    assert shown == {"launched_by", "trace_id", "user"}
    assert run.tags["trace_id"] in run.tags[".dagster/traceparent"]
    [listed] = instance.get_runs(dg.RunsFilter(tags={".dagster/config_hash": "a1"}))
    assert listed.run_id == run.run_id


def test_a_run_that_a_process_executes_itself_names_the_account_unless_it_has_a_user(instance):
    account = pwd.getpwuid(os.getuid()).pw_name
    assert stored(instance, executed_here()).tags["user"] == account
    assert stored(instance, executed_here(tags={"user": "ada"})).tags["user"] == "ada"
    launched = dg.DagsterRun("finra_otc_weekly", remote_job_origin=LAUNCHED)
    assert "user" not in stored(instance, launched).tags


def test_dagster_does_not_retry_a_run_that_a_process_executes_itself(instance):
    assert stored(instance, executed_here()).tags["dagster/max_retries"] == "0"
    launched = stored(instance, dg.DagsterRun("finra_otc_weekly", remote_job_origin=LAUNCHED))
    assert "dagster/max_retries" not in launched.tags


def test_a_run_that_dagster_executes_again_is_one_of_dagsters(instance):
    first = stored(instance, executed_here())
    again = dg.DagsterRun(
        "finra_otc_weekly",
        tags=first.tags,
        remote_job_origin=first.remote_job_origin,
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
    )
    tags = stored(instance, again).tags
    assert tags["launched_by"] == "ui"
    assert "dagster/max_retries" not in tags


def test_a_run_of_another_project_gets_no_code_location_of_ours(instance):
    run = stored(instance, executed_here("other.definitions"))
    assert run.remote_job_origin is None
    assert instance.get_runs(dg.RunsFilter(tags=LABEL)) == []


@pytest.mark.parametrize(
    ("tags", "launched_by"),
    [
        ({}, "ui"),
        ({"dagster/schedule_name": "finra_otc_weekly_mondays"}, "schedule"),
        ({"dagster/sensor_name": "finra_on_publication"}, "sensor"),
        ({"dagster/backfill": "abc"}, "backfill"),
        ({"dagster/backfill": "abc", "dagster/schedule_name": "x"}, "backfill"),
        ({"launched_by": "webhook", "dagster/sensor_name": "x"}, "webhook"),
    ],
)
def test_a_run_names_what_launched_it(instance, tags, launched_by):
    run = dg.DagsterRun("finra_otc_weekly", tags=tags, remote_job_origin=LAUNCHED)
    assert stored(instance, run).tags["launched_by"] == launched_by


@pytest.mark.parametrize(
    ("keys", "domain"),
    [
        (["finra/otc_weekly", "finra/symbol_week"], "finra"),
        (["finra/otc_weekly", "prices/daily"], None),
        (["alone"], None),
    ],
)
def test_a_run_of_selected_assets_names_their_domain(instance, keys, domain):
    selection = frozenset(dg.AssetKey(key.split("/")) for key in keys)
    run = stored(instance, dg.DagsterRun("__ASSET_JOB", asset_selection=selection))
    assert run.tags.get("domain") == domain


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (PRUNE_RUN_LOGS.run_config({"dry_run": True}), "prune_run_logs"),
        ({"ops": {"clean_up": {"config": {}}}}, None),
        ({"ops": {"clean_up": {"config": {"prune_run_logs": {}, "list_artifacts": {}}}}}, None),
        ({"ops": "clean_up"}, None),
    ],
)
def test_a_run_of_a_kind_has_it_as_a_tag_also_if_it_is_executed_again(instance, config, kind):
    run = dg.DagsterRun(PRUNE_RUN_LOGS.job, run_config=config, tags={"kind": "list_artifacts"})
    given = {"kind": "list_artifacts"} if kind is None else {"kind": kind}
    assert stored(instance, run).tags.items() >= given.items()
