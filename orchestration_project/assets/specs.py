"""Specs, days and freshness checks of assets: alike in every domain."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Acceptance
from orchestration_project.engine.contracts.pauses import RUNS_WHILE_PAUSED
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import AnyJob
from orchestration_project.services.metadata import (
    build_result,
    describe_check,
    mark_not_applicable,
)
from orchestration_project.services.pauses import Pauses, pause_of_asset
from orchestration_project.settings import load_shared_settings

SETTINGS = load_shared_settings()
DATA = {"data": "made_up" if SETTINGS.is_demo else "real"}
"""Tag of what holds data of a source."""


SOURCE = "source"
"""Kind of what a source has: nothing makes it here. Its group says so, and its name is long."""


GROUPS = {
    "data": "As new as its latest load. If a load fails, its log has the remedy; what was loaded "
    "stays, and a retry loads the rest.",
    "derived": "As new as its inputs at the latest run. If a run fails, its log has the remedy; "
    "launch it again, which needs no request to a source.",
    "sources": "As new as the source itself. If it cannot be read, `orchestrate verify` names the "
    "cause.",
    "operations": "As new as the latest run or tick that writes it. If that fails, its log has the "
    "remedy; loads go on.",
}
"""Groups of assets, with how fresh they are and what to do if they fail."""

MADE_OF_DATA = frozenset({"gold", "plot", "report"})
"""Kinds of what is made of loaded data."""


def group_of(domain: str, kind: str) -> str:
    """Return the group of an asset, by its domain and kind."""
    if domain in ("operations", "plugins") or kind == "settings":
        return "operations"
    if kind == SOURCE:
        return "sources"
    return "derived" if kind in MADE_OF_DATA else "data"


def describe_asset(description: str, group: str) -> str:
    """Return the description of an asset, which ends with freshness and remedy of its group."""
    return f"{description.rstrip()}\n\n{GROUPS[group]}"


def build_system_spec(
    key: dg.AssetKey,
    description: str,
    columns: dg.TableSchema | None,
    kind: str,
    *deps: dg.AssetKey,
    owners: Sequence[str],
    **metadata: Any,
) -> dg.AssetSpec:
    """Return an asset that holds no data of a source.

    Args:
        key: Domain and noun.
        description: Its first sentence names a row.
        columns: None of a picture.
        kind: The only one that is shown: three chips left no room for the name in the catalog.
        deps: Assets that it is made of.
        owners: Teams or e-mail addresses.
        metadata: What else is shown.
    """
    domain = key.path[0]
    group = group_of(domain, kind)
    shown_table_schemas = {} if columns is None else {"dagster/column_schema": columns}
    return dg.AssetSpec(
        key,
        deps=deps,
        description=describe_asset(description, group),
        group_name=group,
        owners=owners,
        kinds=set() if kind == SOURCE else {kind},
        tags={"domain": domain},
        metadata={**shown_table_schemas, **metadata},
    )


def build_asset_spec(
    key: dg.AssetKey,
    description: str,
    columns: dg.TableSchema | None,
    kind: str,
    *deps: dg.AssetKey,
    owners: Sequence[str],
    **metadata: Any,
) -> dg.AssetSpec:
    """Return the same of what holds data of a source: a tag marks it as synthetic or real."""
    spec = build_system_spec(key, description, columns, kind, *deps, owners=owners, **metadata)
    return spec.merge_attributes(tags=DATA)


def build_utc_days(first: date) -> dg.TimeWindowPartitionsDefinition:
    """Return the UTC days from the first one to today, by the project's clock, as partitions."""
    ahead = Clock(SETTINGS.demo_clock_now).today("UTC") - Clock().today("UTC")
    return dg.TimeWindowPartitionsDefinition(
        start=first.isoformat(),
        fmt="%Y-%m-%d",
        timezone="UTC",
        cron_schedule="0 0 * * *",
        end_offset=ahead.days + 1,
    )


FRESHNESS_CHECK = "is_as_new_as_the_calendar"

FRESHNESS_REMEDY = "find why its runs failed, or whether the source publishes later than expected"
"""What to do where a table is older than its calendar."""


def freshness_check(
    asset: dg.AssetKey,
    claim: str,
    *,
    name: str = FRESHNESS_CHECK,
    settings: Sequence[str] = (),
    limit: str = "",
    remedy: str = FRESHNESS_REMEDY,
    **options: Any,
) -> Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """Return the decorator of a freshness check, whose failure only warns.

    Args:
        asset: The asset that is checked.
        claim: What holds where it passes, a sentence.
        name: Name of the check.
        settings: The settings that it depends on.
        limit: The limit in words, where no setting has it.
        remedy: What to do if it fails.
        options: Others of `dg.asset_check`.
    """
    severity = dg.AssetCheckSeverity.WARN
    check = describe_check(claim, severity=severity, settings=settings, limit=limit, remedy=remedy)
    return dg.asset_check(asset=asset, name=name, **check._asdict(), **options)


def find_paused_result(
    warehouse: Warehouse, asset: dg.AssetKey, name: str = FRESHNESS_CHECK
) -> dg.AssetCheckResult | None:
    """Return the result of a freshness check while its asset or source is paused.

    It passes and says until when and why, as lateness is expected; None: nothing of it is paused.
    """
    pause = pause_of_asset(Pauses(warehouse).list_in_effect(), asset.to_user_string())
    if pause is None:
        return None
    severity = dg.AssetCheckSeverity.WARN
    return build_result(asset, name, mark_not_applicable(pause.text), severity, passed=True)


def build_freshness_job(
    domain: str, checks: Sequence[dg.AssetChecksDefinition], description: str
) -> AnyJob:
    """Return the job that runs the freshness checks of a domain, and nothing else."""
    return dg.define_asset_job(
        f"{domain}_freshness",
        selection=dg.AssetSelection.checks(*checks),
        description=description,
        tags={"domain": domain, **RUNS_WHILE_PAUSED},
    )


def build_daily_job(
    domain: str,
    description: str,
    *,
    assets: Sequence[dg.AssetsDefinition],
    checks: Sequence[dg.AssetChecksDefinition],
) -> AnyJob:
    """Return the job that derives, draws and checks once a day; no pause holds one of checks."""
    tags = {} if assets else RUNS_WHILE_PAUSED
    return dg.define_asset_job(
        name_daily_job(domain),
        selection=dg.AssetSelection.assets(*assets) | dg.AssetSelection.checks(*checks),
        description=description,
        tags={"domain": domain, **tags},
    )


def name_daily_job(domain: str) -> str:
    """Return the name of the daily job of a domain, and of its schedule."""
    return f"{domain}_daily"


def check_approval(
    context: dg.AssetExecutionContext,
    asset: dg.AssetKey,
    acceptance: Acceptance,
    warehouse: Warehouse,
) -> Acceptance:
    """Return the acceptance of a delivery, once a second person confirmed it where one has to.

    Raises:
        ConfigurationError: It is not confirmed.
    """
    from orchestration_project.services.access.approvals import (  # most loads accept nothing
        ApprovalDemand,
        read_person,
        require_approval,
        use_of,
    )

    parameters = {"asset": asset.to_user_string(), "sha256": acceptance.sha256}
    person, use = read_person(context.run.tags), use_of(context.run)
    demand = ApprovalDemand("accept", parameters, acceptance.reason, person, use)
    require_approval(warehouse, demand)
    return acceptance
