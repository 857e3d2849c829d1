"""Persons and documents that webhook deliveries are about, as `webhooks.yaml` declares them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Table

from orchestration_project.contracts.subjects import IdentifyingColumn, Key, SubjectKind
from orchestration_project.domains.webhooks.queue import TOPIC_PREFIX
from orchestration_project.domains.webhooks.sources import WebhookSource
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import inbox, work_items
from orchestration_project.tables.webhooks import events_webhooks

EVENTS = (events_webhooks, events_webhooks.info[HISTORY])


def webhook_subjects(sources: Mapping[str, WebhookSource]) -> Sequence[SubjectKind]:
    """Return the kinds that sources declare, whose deliveries are deleted."""
    columns: defaultdict[str, list[IdentifyingColumn]] = defaultdict(list)
    for source, declared in sources.items():
        for kind, path in declared.subjects.items():
            names, where = tuple(path.split(".")), {"source": source}
            columns[kind] += [
                IdentifyingColumn(column=inbox.c.body, path=names, where=where, is_base64=True),
                IdentifyingColumn(column=events_webhooks.c.payload, path=names, where=where),
            ]
    return [
        SubjectKind(
            name=kind,
            description="value of the member that the source declares in webhooks.yaml",
            columns=some,
            related=rows_of_delivery,
        )
        for kind, some in sorted(columns.items())
    ]


def rows_of_delivery(table: Table, key: Key) -> Sequence[tuple[Table, Key]]:
    """Return the rows of other tables that a delivery has: inbox, event, history and work item."""
    if table not in {inbox, *EVENTS}:
        return []
    source, delivery_id = key["source"], key["delivery_id"]
    own = {"source": source, "delivery_id": delivery_id}
    item = {"topic": f"{TOPIC_PREFIX}{source}", "item_key": delivery_id}
    return [(inbox, own), *((each, own) for each in EVENTS), (work_items, item)]
