"""How the assets of operations look in the catalogue, and the times that their configs take."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
from sqlalchemy import Table

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.conditions import MOMENT, read_moment

GROUP = "operations"
OWNERS = ["team:operations"]
RUNS, STEPS, SESSIONS, CONTROL_TOWER, PRESETS, RUN_LOGS, ARTIFACTS, REMOVALS, EVIDENCE, ALERTS = (
    dg.AssetKey([GROUP, noun])
    for noun in (
        *("runs", "steps", "sessions", "control_tower", "presets"),
        *("run_logs", "artifacts", "removals", "evidence", "alerts"),
    )
)


def asset_spec(key: dg.AssetKey, rows: Table, kinds: set[str], *deps: dg.AssetKey) -> dg.AssetSpec:
    """Return the asset that is this table or view."""
    columns = [
        dg.TableColumn(
            column.name,
            type=str(column.type),
            description=column.comment,
            constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
        )
        for column in rows.columns
    ]
    metadata: dict[str, Any] = {
        "dagster/table_name": rows.name,
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }
    return dg.AssetSpec(
        key,
        deps=deps,
        description=str(rows.comment),
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
        tags={"domain": GROUP},
        metadata=metadata,
    )


def report_spec(key: dg.AssetKey, description: str, columns: Mapping[str, str]) -> dg.AssetSpec:
    """Return an asset that is no table: a job looks, and shows what it found in the metadata."""
    shown = [dg.TableColumn(name, description=comment) for name, comment in columns.items()]
    return dg.AssetSpec(
        key,
        description=description,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"report"},
        tags={"domain": GROUP},
        metadata={"dagster/column_schema": dg.TableSchema(columns=shown)},
    )


def moment_of(given: str | None, name: str = "since") -> datetime | None:
    """Return the time that a run's config gives as ``name``, None where it gives none.

    Raises:
        ConfigurationError: It is no time.
    """
    if given is None:
        return None
    try:
        return read_moment(given)
    except ValueError as error:
        raise ConfigurationError(
            f"{name} is no time",
            expected=MOMENT,
            found=repr(given),
            remedy="correct the run's config",
        ) from error
