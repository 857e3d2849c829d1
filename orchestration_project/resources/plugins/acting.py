"""Actions of plugins: requests that wait in the outbox, made after the load that recorded them.

All attempts at an action have one idempotency key. One that fails waits for a later run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestration_project.domains.plugins.judging import Judge, request_of, target_of
from orchestration_project.domains.plugins.protocol import Act
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.attempts import may_pass
from orchestration_project.engine.outbox import (
    DONE,
    Claim,
    Entry,
    OutboxLoop,
    Outcome,
    fail,
    fail_with,
    read_due,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import (
    ContractError,
    OrchestrationError,
)
from orchestration_project.resources.plugins.fetching import Fetcher, Stopwatch
from orchestration_project.resources.plugins.loading import action_topic
from orchestration_project.resources.plugins.records import CallRecorder

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
        topics = [action_topic(self.plugin, rule.name) for rule in self.judge.permissions.actions]
        loop = OutboxLoop(self.warehouse, self.clock, self.run_id)
        with self.warehouse.reading() as connection:
            due = read_due(connection, topics, self.clock.now(), limit=ACTIONS_PER_RUN)
        ends = loop.apply(due, loop.claim, self._send)
        return Counter(ended.outcome for ended in ends if ended.claim)

    def _send(self, claimed: Claim) -> Outcome:
        entry = claimed.entry
        message = Act(entry.topic.rpartition("/")[2], entry.entity, json.loads(entry.payload))
        watch = Stopwatch()
        try:
            status = self._request(message, entry)
        except OrchestrationError as error:
            self.recorder.add(*target_of(message), "failed", seconds=watch.seconds)
            return fail_with(entry, error, error.line[:MAX_REASON_CHARACTERS])
        self.recorder.add(*target_of(message), "allowed", seconds=watch.seconds)
        if 200 <= status < 300:
            return DONE
        return fail(entry, f"HTTP {status}", may_pass=may_pass(status))

    def _request(self, message: Act, entry: Entry) -> int:
        refusal = self.judge.refusal(message)
        request = request_of(message.fields)
        if refusal is not None or request is None:
            raise ContractError(
                "the action is not granted", found=refusal.reason if refusal else "no request"
            )
        key = hashlib.sha256(
            f"{entry.topic}|{entry.entity}|{entry.version_number}".encode()
        ).hexdigest()
        texts = {name: text for name, text in request.headers.items() if not _is_key(name)}
        headers = {**texts, IDEMPOTENCY_HEADER: key}
        return self.fetcher.fetch(replace(request, headers=headers)).status


def _is_key(name: str) -> bool:
    return name.lower() == IDEMPOTENCY_HEADER.lower()
