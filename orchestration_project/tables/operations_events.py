"""View of the events of data, from capture to clean-up, over the tables that hold them.

No fact is stored twice: each event is a row of another table, which `reference` leads to.
"""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, literal, select, type_coerce

from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_artifacts import operations_removals
from orchestration_project.tables.schema import BYTEWISE_TEXT, moment, text
from orchestration_project.tables.spine import captures, deliveries, landings
from orchestration_project.tables.views import view_of_all


class EventKind(NamedTuple):
    """Meaning of an event of the view, and content of its columns."""

    when: str
    reference: str
    detail: str
    table: str


EVENTS = {
    "captured": EventKind(
        "bytes of a source were fetched and stored; a replay fetches none",
        "SHA-256 of the bytes",
        "address",
        "captures",
    ),
    "checked": EventKind(
        "a delivery was validated and audited, with any outcome",
        "group_id",
        "outcome: landed or held_back",
        "deliveries",
    ),
    "held_back": EventKind(
        "an audit of severity error failed: the delivery is quarantined",
        "group_id",
        "version of the source",
        "deliveries; the reason is in audits",
    ),
    "refused": EventKind(
        "the delivery could not be validated", "group_id", "version of the source", "deliveries"
    ),
    "landed": EventKind(
        "a delivery was loaded, perhaps without a changed row",
        "group_id",
        "change_cause: first, more, source, metadata, ours or none",
        "landings",
    ),
    "restated": EventKind(
        "the source changed rows that were loaded before",
        "group_id",
        "source (values) or metadata (dates only)",
        "landings",
    ),
    "alerted": EventKind("an alert was raised", "alert_id", "title", "operations_alerts"),
    "recovered": EventKind("the alert recovered", "alert_id", "title", "operations_alerts"),
    "cleaned_up": EventKind(
        "an artifact was deleted because of its age",
        "name of the artifact",
        "its kind",
        "operations_removals",
    ),
}
"""Every event of the view, by name."""

_captures, _deliveries, _landings = captures.c, deliveries.c, landings.c
_alerts, _removals = operations_alerts.c, operations_removals.c


def _build_text(value: str) -> ColumnElement[str]:
    return type_coerce(literal(value), BYTEWISE_TEXT)


def _select_events(
    event: ColumnElement[str] | str,
    happened_at: ColumnElement[Any],
    run_id: ColumnElement[str],
    asset: ColumnElement[str],
    partition_key: ColumnElement[str],
    reference: ColumnElement[str],
    detail: ColumnElement[str],
) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        (_build_text(event) if isinstance(event, str) else event).label("event"),
        happened_at.label("happened_at"),
        run_id.label("run_id"),
        asset.label("asset"),
        partition_key.label("partition_key"),
        reference.label("reference"),
        detail.label("detail"),
    ]
    return select(*columns)


def _select_delivery(event: ColumnElement[str] | str, detail: ColumnElement[str]) -> Select[Any]:
    return _select_events(
        event,
        _deliveries.recorded_at,
        _deliveries.run_id,
        _deliveries.table_name,
        _deliveries.partition_key,
        _deliveries.group_id,
        detail,
    )


def _select_load(event: str, detail: ColumnElement[str]) -> Select[Any]:
    return _select_events(
        event,
        _landings.landed_at,
        _landings.run_id,
        _landings.table_name,
        _landings.partition_key,
        _landings.group_id,
        detail,
    )


def _select_alert(event: str, happened_at: ColumnElement[Any]) -> Select[Any]:
    return _select_events(
        event,
        happened_at,
        _alerts.run_id,
        _alerts.assets,
        _alerts.partitions,
        _alerts.alert_id,
        _alerts.title,
    )


_captured = (
    _select_events(
        "captured",
        _captures.fetched_at,
        _captures.run_id,
        _deliveries.table_name,
        _captures.partition_key,
        _captures.sha256,
        _captures.url,
    )
    .select_from(captures.outerjoin(deliveries, _deliveries.group_id == _captures.group_id))
    .where(_deliveries.replay_of.is_(None))  # a replay fetches nothing
)

_removed = _select_events(
    "cleaned_up",
    _removals.removed_at,
    _removals.run_id,
    _build_text(""),
    _build_text(""),
    _removals.name,
    _removals.kind,
)

operations_events = view_of_all(
    "operations_events",
    "One row per event of data, as long as the row that it comes from is stored.",
    [
        text(
            "event",
            "Event: captured, checked, held_back, refused, landed, restated, alerted, recovered "
            "or cleaned_up",
            key=True,
        ),
        moment("happened_at", "UTC time of the event", key=True),
        text("run_id", "Dagster run; NULL: no run", optional=True),
        text(
            "asset",
            "Table: the asset key with _ for /; for an alert, a JSON list of asset keys; empty: "
            "no table",
            optional=True,
        ),
        text(
            "partition_key",
            "Partition key of Dagster; for an alert, a JSON list; empty: no partition",
            optional=True,
        ),
        text(
            "reference",
            "Reference: SHA-256 of the bytes, group_id, alert_id or name of the artifact",
            key=True,
        ),
        text("detail", "Address, outcome, cause, title or kind"),
    ],
    _captured,
    _select_delivery("checked", _deliveries.outcome).where(_deliveries.outcome != "refused"),
    _select_delivery(_deliveries.outcome, _deliveries.source_version).where(
        _deliveries.outcome.in_(["held_back", "refused"])
    ),
    _select_load("landed", _landings.change_cause),
    _select_load("restated", _landings.change_cause).where(
        _landings.change_cause.in_(["source", "metadata"])
    ),
    _select_alert("alerted", _alerts.raised_at),
    _select_alert("recovered", _alerts.ended_at).where(_alerts.state == "recovered"),
    _removed,
)
