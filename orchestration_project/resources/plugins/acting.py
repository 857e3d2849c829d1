"""Actions of plugins: requests that wait in the outbox, made after the load that recorded them.

All attempts at an action have one idempotency key. One that fails waits for a later run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.attempts import LEASE, MAX_ATTEMPTS, may_pass, wait_after
from orchestration_project.domains.plugins.judging import Judge, request_of, target_of
from orchestration_project.domains.plugins.protocol import Act
from orchestration_project.engine.leases import is_outbox_due
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    TransientError,
)
from orchestration_project.resources.plugins.fetching import Fetcher, Stopwatch
from orchestration_project.resources.plugins.loading import action_topic
from orchestration_project.resources.plugins.records import CallRecorder
from orchestration_project.tables.spine import outbox

ACTIONS_PER_RUN = 100
IDEMPOTENCY_HEADER = "Idempotency-Key"
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class ActionApplier:
    """Makes the requests of a plugin's actions that are due.

    Attributes:
        plugin: ID of the plugin.
        judge: Its permissions now: an action that is not granted any more is dead.
        warehouse: Database with the outbox.
        clock: Times of attempts.
        recorder: Record of calls.
        fetcher: Makes the requests.
        run_id: Dagster's run.
    """

    plugin: str
    judge: Judge
    warehouse: Warehouse
    clock: Clock
    recorder: CallRecorder
    fetcher: Fetcher
    run_id: str

    def apply_due(self) -> Mapping[str, int]:
        """Make the due requests, the oldest first; return counts by done, waiting and dead."""
        counts: Counter[str] = Counter()
        for row in self._due():
            until = self.clock.now() + LEASE
            if self._update(row, row["due_at"], due_at=until):
                counts[self._apply(row, until)] += 1
        return counts

    def _due(self) -> list[RowMapping]:
        topics = [action_topic(self.plugin, each.name) for each in self.judge.permissions.actions]
        wanted = (
            select(outbox)
            .where(
                outbox.c.topic.in_(topics),
                outbox.c.state == "waiting",
                is_outbox_due(self.clock.now()),
            )
            .order_by(outbox.c.due_at, outbox.c.entity, outbox.c.version_number)
            .limit(ACTIONS_PER_RUN)
        )
        with self.warehouse.reading() as connection:
            return list(connection.execute(wanted).mappings())

    def _apply(self, row: RowMapping, until: datetime) -> str:
        message = Act(row["topic"].rpartition("/")[2], row["entity"], json.loads(row["payload"]))
        watch = Stopwatch()
        try:
            status = self._request(message, row)
        except OrchestrationError as error:
            self.recorder.add(*target_of(message), "failed", seconds=watch.seconds)
            is_passing = isinstance(error, TransientError | ConfigurationError)
            reason = error.line
            return self._settle_failed(row, until, reason, is_passing=is_passing)
        self.recorder.add(*target_of(message), "allowed", seconds=watch.seconds)
        if 200 <= status < 300:
            self._update(row, until, state="done", reason=None)
            return "done"
        return self._settle_failed(row, until, f"HTTP {status}", is_passing=may_pass(status))

    def _request(self, message: Act, row: RowMapping) -> int:
        refusal = self.judge.refusal(message)
        request = request_of(message.fields)
        if refusal is not None or request is None:
            raise ContractError(
                "the action is not granted", found=refusal.reason if refusal else "no request"
            )
        key = hashlib.sha256(
            f"{row['topic']}|{row['entity']}|{row['version_number']}".encode()
        ).hexdigest()
        own = {name: each for name, each in request.headers.items() if not _is_key(name)}
        headers = {**own, IDEMPOTENCY_HEADER: key}
        return self.fetcher.fetch(replace(request, headers=headers)).status

    def _settle_failed(
        self, row: RowMapping, until: datetime, reason: str, *, is_passing: bool
    ) -> str:
        count = row["attempt_count"] + 1
        state = "waiting" if is_passing and count < MAX_ATTEMPTS else "dead"
        self._update(
            row,
            until,
            state=state,
            reason=reason[:MAX_REASON_CHARACTERS],
            attempt_count=count,
            due_at=self.clock.now() + wait_after(count),
        )
        return state

    def _update(self, row: RowMapping, claimed_until: datetime, **values: Any) -> bool:
        """Change a row whose claim is still the current one; return whether it was."""
        own = (
            outbox.c.topic == row["topic"],
            outbox.c.entity == row["entity"],
            outbox.c.version_number == row["version_number"],
            outbox.c.state == "waiting",
            outbox.c.due_at == claimed_until,
        )
        changed = {**values, "changed_at": self.clock.now(), "run_id": self.run_id}
        with self.warehouse.writing() as connection:
            return bool(connection.execute(update(outbox).where(*own).values(changed)).rowcount)


def _is_key(name: str) -> bool:
    return name.lower() == IDEMPOTENCY_HEADER.lower()
