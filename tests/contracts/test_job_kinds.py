"""Kinds of the jobs of operations: how each is selected, and what former names lead to."""

import dagster as dg
import pytest

from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.job_kinds import (
    DELETE_ARTIFACTS,
    FORMER_JOBS,
    KINDS,
    JobKind,
    describe_former_job,
    require_kind,
    upgrade_launch,
)
from orchestration_project.errors import ConfigurationError

JOBS = sorted({kind.job for kind in KINDS})


@pytest.mark.parametrize("job", JOBS)
def test_a_launch_without_a_kind_is_refused_with_the_kinds(job: str):
    kinds = [kind for kind in KINDS if kind.job == job]
    selected = {"ops": {kinds[0].op: {"config": {}}}}
    several = {"ops": {kinds[0].op: {"config": {kind.name: {} for kind in kinds}}}}
    for config in ({}, selected, several):
        with pytest.raises(ConfigurationError, match=kinds[-1].name):
            require_kind(job, config)
    with pytest.raises(dg.DagsterInvalidConfigError, match=kinds[-1].name):
        dg.validate_run_config(defs.resolve_job_def(job), selected)
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(defs.resolve_job_def(job), {})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_in_the_description_of_its_job(kind: JobKind):
    require_kind(kind.job, kind.run_config({}))
    assert f"- `{kind.name}`: " in str(defs.resolve_job_def(kind.job).description)


@pytest.mark.parametrize("name", [*FORMER_JOBS, "operations_verify", "finra_charts"])
def test_a_former_name_leads_to_a_job_and_is_answered_with_it(name: str):
    job, config = upgrade_launch(name, {})
    assert job in {*JOBS, "operations_checks", "finra_daily"}
    assert job in describe_former_job(name)
    assert upgrade_launch(job, config) == (job, config)


def test_a_launch_by_a_former_name_keeps_its_options_and_other_sections():
    config = {"ops": {"clean_up_artifacts": {"config": {"dry_run": True}}}, "loggers": {}}
    assert upgrade_launch("operations_cleanup", config) == (
        DELETE_ARTIFACTS.job,
        {
            "ops": {DELETE_ARTIFACTS.op: {"config": {DELETE_ARTIFACTS.name: {"dry_run": True}}}},
            "loggers": {},
        },
    )


def test_a_present_name_has_no_former_job():
    assert describe_former_job("fx_rates_daily") == ""
