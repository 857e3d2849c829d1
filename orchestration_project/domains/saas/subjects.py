"""Persons and tasks in the sync of PeopleForce and Jira, for erasures.

A person is masked in tasks and issues, which stay. A task goes with all that is known of it.
"""

from collections.abc import Sequence

from sqlalchemy import Table

from orchestration_project.domains.saas import jira, peopleforce
from orchestration_project.domains.saas.tables import (
    saas_audit_log,
    saas_dead_letters,
    saas_source_states,
)
from orchestration_project.engine.contracts.subjects import (
    CapturedRecords,
    IdentifyingColumn,
    Key,
    SubjectKind,
)
from orchestration_project.tables.spine import inbox, leases, outbox, work_items

PAIR = f"{peopleforce.SYSTEM}>{jira.SYSTEM}"

OF_TASK = {"system": peopleforce.SYSTEM, "entity_type": peopleforce.TASK}

SOURCES = ("demo", "api")
"""Sources of captured pages of tasks."""


def _find_work_item(table: Table, key: Key) -> Sequence[tuple[Table, Key]]:
    """Return the work item of a webhook delivery."""
    if table is not inbox:
        return []
    return [(work_items, {"topic": f"webhooks/{key['source']}", "item_key": key["delivery_id"]})]


PERSON = SubjectKind(
    name="person",
    description="e-mail address in PeopleForce and Jira",
    companions={
        "email": ("full_name", "name"),
        "assignee_email": ("assignee_name",),
        "emailAddress": ("displayName",),
    },
)

TASK = SubjectKind(
    name="task",
    description="ID of the task in PeopleForce",
    columns=[
        *(
            IdentifyingColumn(column=each.c.entity_id, where=OF_TASK)
            for each in (saas_source_states, saas_dead_letters, saas_audit_log)
        ),
        IdentifyingColumn(
            column=outbox.c.entity, prefix=f"{peopleforce.TASK}|", where={"topic": PAIR}
        ),
        IdentifyingColumn(column=leases.c.name, prefix=f"{PAIR}|{peopleforce.TASK}|"),
        IdentifyingColumn(
            column=inbox.c.body,
            path=("data", "id"),
            where={"source": peopleforce.SYSTEM},
            is_base64=True,
        ),
    ],
    records=[
        CapturedRecords(source=source, dataset=peopleforce.SYSTEM, records=("data",), path=("id",))
        for source in SOURCES
    ],
    related=_find_work_item,
)

SUBJECTS = (PERSON, TASK)
