"""The action row: a row of a table that WEBHOOKS_FILE declares, in `events_routed_rows`."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection

from orchestration_project.contracts.matching import FieldType, TargetFields
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.registry import ActionRequest, Registry, RoutingAction
from orchestration_project.resources.events_routing.planning import as_json
from orchestration_project.settings import Settings
from orchestration_project.tables.events_routing import events_routed_rows

MAX_COLUMNS = 200


class RowTable(BaseModel):
    """Declaration of a table.

    Attributes:
        columns: Type of each column: text, integer, number, boolean, timestamp or json.
        required: Columns that are never null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    columns: dict[str, FieldType] = Field(min_length=1, max_length=MAX_COLUMNS)
    required: list[str] = []

    @model_validator(mode="after")
    def _requires_columns(self) -> Self:
        if unknown := sorted(set(self.required) - set(self.columns)):
            raise ValueError(f"expected required columns among the columns, found {unknown[0]}")
        return self


def _fields(declared: RowTable, _: Registry, __: Settings) -> TargetFields:
    return TargetFields(declared.columns, frozenset(declared.required))


def _write(connection: Connection, request: ActionRequest, now: datetime, run_id: str) -> str:
    row = {
        "table_name": request.target,
        "row_key": request.idempotency_key,
        "source": request.source,
        "delivery_id": request.delivery_id,
        "rule_id": request.rule_id,
        "data": as_json(request.fields),
        "written_at": now,
        "run_id": run_id,
    }
    insert_absent(connection, events_routed_rows, [row])
    return request.idempotency_key


ROW = RoutingAction(
    name="row",
    description="Writes a row of a table that WEBHOOKS_FILE declares.",
    declaration=RowTable,
    fields=_fields,
    write=_write,
)
