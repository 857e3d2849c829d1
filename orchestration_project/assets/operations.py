"""The ledger of runs as assets: what ran, and repairing it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field
from sqlalchemy import Table

from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.ledger import Ledger, reconcile
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.tables.operations import operations_runs, operations_steps

GROUP = "operations"
OWNERS = ["team:operations"]
RUNS, STEPS = (dg.AssetKey([GROUP, noun]) for noun in ("runs", "steps"))


def _spec(
    key: dg.AssetKey, rows: Table, kind: str, *deps: dg.AssetKey, **metadata: Any
) -> dg.AssetSpec:
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
    return dg.AssetSpec(
        key,
        deps=deps,
        description=str(rows.comment),
        group_name=GROUP,
        owners=OWNERS,
        kinds={kind},
        tags={"domain": GROUP},
        metadata={
            "dagster/table_name": "_".join(key.path),
            "dagster/column_schema": dg.TableSchema(columns=columns),
        },
    )


class Since(dg.Config):
    """From when on runs are looked at."""

    since: str | None = Field(
        default=None,
        description="Runs that were asked for after this ISO date or time, in UTC where it names "
        "no zone; without it, all.",
    )

    def moment(self) -> datetime | None:
        """Return the moment, aware; None: from the start.

        Raises:
            ConfigurationError: It is no date or time.
        """
        if self.since is None:
            return None
        try:
            moment = datetime.fromisoformat(self.since)
        except ValueError as error:
            raise ConfigurationError(
                "since is no date or time",
                expected="such as 2026-11-01 or 2026-11-01T12:00:00Z",
                found=repr(self.since),
                remedy="correct the run's config",
            ) from error
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dg.multi_asset(
    name="reconcile_operations",
    specs=[
        _spec(RUNS, operations_runs, "ledger"),
        _spec(STEPS, operations_steps, "ledger", RUNS),
    ],
)
def ledger(
    context: dg.AssetExecutionContext,
    config: Since,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Compare the ledger with all that Dagster knows, and repair what is missing or differs."""
    found = reconcile(context.instance, Ledger(warehouse, clock), config.moment())
    yield dg.MaterializeResult(
        asset_key=RUNS,
        metadata={
            "runs_missing": found.written.added,
            "runs_differing": found.written.changed,
            "runs_same": found.written.same,
            "runs_gone": found.gone,
        },
    )
    yield dg.MaterializeResult(asset_key=STEPS)
