"""Dagster's resources, by the names under which assets and sensors ask for them."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import dagster as dg

from orchestration_project.domains.saas import jira, peopleforce
from orchestration_project.resources.alerts import Alerts
from orchestration_project.resources.artifacts import (
    ArtifactStore,
)
from orchestration_project.resources.captures import Captures
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.effective_config import effective_config
from orchestration_project.resources.finra import FinraSource
from orchestration_project.resources.finra.dataset_sources import (
    FinraDatasets,
)
from orchestration_project.resources.opening import at_first_use
from orchestration_project.resources.prices import PriceSource
from orchestration_project.resources.prices.opening import in_second_place
from orchestration_project.resources.providers.gate import (
    CONFIG_TAG,
    admit,
    admitted,
    gate_resource,
    instance_of,
)
from orchestration_project.resources.providers.probes import open_alerts
from orchestration_project.resources.providers.sources import (
    open_datasets,
    opened_finra,
    opened_prices_source,
)
from orchestration_project.resources.providers.systems import (
    open_clock,
    open_store,
    open_warehouse,
)
from orchestration_project.resources.saas.opening import (
    opened_jira,
    opened_peopleforce,
)
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.settings import Settings, load_settings


@dg.resource(description="The settings of this process.")
def settings_resource() -> Settings:
    """The settings of this process; what its run or tick logs follows LOG_LEVEL."""
    settings = load_settings()
    logging.getLogger("orchestration_project").setLevel(settings.log_level)
    return settings


@dg.resource(description="Who is told of alerts, and where they are kept.")
def alerts_resource() -> Alerts:
    """Who is told of alerts, and where they are kept."""
    return open_alerts(load_settings())


@dg.resource(description="The one clock.")
def clock_resource() -> Clock:
    """The one clock."""
    return open_clock(load_settings())


@dg.resource(description="The user's database.")
def warehouse_resource(context: dg.InitResourceContext) -> Iterator[Warehouse]:
    """The user's database, its tables up to date; a run that opens it is tagged with its config."""

    def opening() -> Warehouse:
        settings = load_settings()
        if context.run is not None:
            tag = {CONFIG_TAG: effective_config(settings).config_hash}
            instance_of(context).add_run_tags(context.run.run_id, tag)
        return open_warehouse(settings)

    with at_first_use(opening) as warehouse:
        yield warehouse


@dg.resource(
    description="Where raw bytes and staged files are kept.", required_resource_keys={"gate"}
)
def artifacts_resource(context: dg.InitResourceContext) -> Iterator[ArtifactStore]:
    """Where raw bytes and staged files are kept."""

    def opening() -> AbstractContextManager[ArtifactStore]:
        return admitted(context, "artifacts", _opened_store())

    with at_first_use(opening) as store:
        yield store


@contextmanager
def _opened_store() -> Iterator[ArtifactStore]:
    yield open_store(load_settings())


@dg.resource(description="Where FINRA's weekly data comes from.", required_resource_keys={"gate"})
def finra_resource(context: dg.InitResourceContext) -> Iterator[FinraSource]:
    """Where FINRA's weekly data comes from."""

    def opening() -> AbstractContextManager[FinraSource]:
        return admitted(context, "finra", opened_finra(load_settings()))

    with at_first_use(opening) as finra:
        yield finra


@dg.resource(
    description="Where FINRA's further datasets come from.", required_resource_keys={"gate"}
)
def finra_datasets_resource(context: dg.InitResourceContext) -> Iterator[FinraDatasets]:
    """Where FINRA's further datasets come from."""

    def opening() -> AbstractContextManager[FinraDatasets]:
        return open_datasets(load_settings(), partial(admit, context))

    with at_first_use(opening) as datasets:
        yield datasets


@dg.resource(description="Where daily prices come from.", required_resource_keys={"gate"})
def prices_resource(context: dg.InitResourceContext) -> Iterator[PriceSource]:
    """Where daily prices come from."""

    def opening() -> AbstractContextManager[PriceSource]:
        return admitted(context, "prices", opened_prices_source(load_settings()))

    with at_first_use(opening) as prices:
        yield prices


@dg.resource(
    description="Another source of daily prices to compare with.", required_resource_keys={"gate"}
)
def prices_second_resource(context: dg.InitResourceContext) -> Iterator[PriceSource]:
    """The source that PRICES_SECOND_SOURCE names; nothing opens it where that is not set."""

    def opening() -> AbstractContextManager[PriceSource]:
        return admitted(context, "prices", opened_prices_source(in_second_place(load_settings())))

    with at_first_use(opening) as prices:
        yield prices


@dg.resource(description="The tasks that issues are made of.", required_resource_keys={"gate"})
def peopleforce_resource(context: dg.InitResourceContext) -> Iterator[SourceSystem]:
    """The tasks that issues are made of."""

    def opening() -> AbstractContextManager[SourceSystem]:
        settings = load_settings()
        captures, clock = Captures(open_store(settings)), open_clock(settings)
        return admitted(context, "peopleforce", opened_peopleforce(settings, captures, clock))

    with at_first_use(opening, system=peopleforce.SYSTEM) as source:
        yield source


@dg.resource(description="The issues made of tasks.", required_resource_keys={"gate"})
def jira_resource(context: dg.InitResourceContext) -> Iterator[TargetSystem]:
    """The issues made of tasks."""

    def opening() -> AbstractContextManager[TargetSystem]:
        return admitted(context, "jira", opened_jira(load_settings()))

    with at_first_use(opening, system=jira.SYSTEM) as target:
        yield target


RESOURCES = {
    "alerts": alerts_resource,
    "artifacts": artifacts_resource,
    "clock": clock_resource,
    "finra": finra_resource,
    "finra_datasets": finra_datasets_resource,
    "gate": gate_resource,
    "jira": jira_resource,
    "peopleforce": peopleforce_resource,
    "prices": prices_resource,
    "prices_second": prices_second_resource,
    "settings": settings_resource,
    "warehouse": warehouse_resource,
}
