"""How the assets of operations look in the catalogue, and the times that their configs take."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

import dagster as dg
from sqlalchemy import Table

from orchestration_project.assets import specs
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.metadata import build_schema, report_schema
from orchestration_project.tables.conditions import MOMENT, read_moment

GROUP = "operations"
OWNERS = ["team:operations"]
RUNS, READINESS, ALERTS, CONTROL_TOWER = (
    dg.AssetKey([GROUP, noun]) for noun in ("runs", "readiness", "alerts", "control_tower")
)
ARTIFACTS, EXPORTS, EVIDENCE, DEFINITIONS = (
    dg.AssetKey([GROUP, noun]) for noun in ("artifacts", "exports", "evidence", "definitions")
)

DAMAGED_ARTIFACTS, ERASURES, REMOVALS, RUN_LOGS = (
    dg.AssetKey([GROUP, noun]) for noun in ("damaged_artifacts", "erasures", "removals", "run_logs")
)
"""Subjects of leases: one run at a time repairs, erases, deletes or prunes."""

STATE_ASSETS = [ALERTS, DEFINITIONS, READINESS, RUNS]
"""Assets whose state a sensor reports as events without a run."""


_spec = partial(specs.build_system_spec, owners=OWNERS)


def build_asset_spec(key: dg.AssetKey, rows: Table, kind: str, *deps: dg.AssetKey) -> dg.AssetSpec:
    """Return the asset that is this table or view."""
    named = {"dagster/table_name": rows.name}
    return _spec(key, str(rows.comment), build_schema(rows.columns), kind, *deps, **named)


def report_spec(
    key: dg.AssetKey, description: str, columns: Mapping[str, str], kind: str = "report"
) -> dg.AssetSpec:
    """Return an asset without a table: its job reports results as metadata."""
    return _spec(key, description, report_schema(columns), kind)


def parse_moment(given: str | None, name: str = "since") -> datetime | None:
    """Return the time that a run's config gives as ``name``, None where it gives none.

    Raises:
        ConfigurationError: It is not a time.
    """
    if given is None:
        return None
    try:
        return read_moment(given)
    except ValueError as error:
        raise ConfigurationError(
            f"invalid {name}",
            expected=MOMENT,
            found=repr(given),
            remedy="correct the run's config",
        ) from error
