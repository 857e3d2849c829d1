"""Backfills that Dagster's daemon ended for an error that is in none of their runs."""

from datetime import timedelta
from functools import partial

import dagster as dg

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.messages import Message, backfill_failure
from orchestration_project.domains.operations.rules import facts_of
from orchestration_project.services.alerts.inbox import Inbox, nothing_is_well, words_of
from orchestration_project.services.alerts.policy import Links
from orchestration_project.services.backfills import failed_backfills

LOOKED_BACK = timedelta(days=1)
"""Of what failed before, nobody is told: it may be from before there were alerts."""


def take_backfills(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    inbox: Inbox,
    links: Links,
) -> list[Message]:
    """Store what failed backfills raise, each once; return what is told of them.

    It is well again as what a failed run did not make is: partition by partition.
    """
    told: list[Message] = []
    for backfill in failed_backfills(instance, repository, Clock().now() - LOOKED_BACK):
        message = backfill_failure(backfill, links)
        told += inbox.take(
            f"backfill {backfill.backfill_id}",
            message.problems,
            nothing_is_well,
            words_of(message),
            partial(facts_of, job=backfill.job, together=backfill.together),
        )
    return told
