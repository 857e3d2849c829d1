"""The row of mqtt_bridges of a broker: what its bridge does, and why it is not connected."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from orchestration_project.domains.mqtt.tables import mqtt_bridges
from orchestration_project.engine.warehouse.frames import clean_text, insert_absent

SECONDS_BETWEEN = 1.0
"""At most so often a change is written."""

MAX_PROBLEM = 2_000
"""Length of a problem, in characters."""


@dataclass
class BridgeState:
    """State of a bridge, until it is written.

    Args:
        broker: Host and port.
        holder: Process of the bridge.
        receive_maximum: Of the setting.
        now: Monotonic clock in seconds.
    """

    broker: str
    holder: str
    receive_maximum: int
    now: Callable[[], float]
    connected_since: datetime | None = None
    last_message_at: datetime | None = None
    session_lost_at: datetime | None = None
    problem: str | None = None
    topics: Sequence[str] = ()
    stored_count: int = 0
    backlog_count: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    _is_changed: bool = True
    _written_at: float = field(default=float("-inf"))

    def connected(self, at: datetime, topics: Sequence[str]) -> None:
        """Note a connection, and the topic filters that its session has now."""
        self.connected_since, self.problem, self.topics = at, None, topics
        self._is_changed, self._written_at = True, float("-inf")

    def disconnected(self, problem: str) -> None:
        """Note why the broker is not connected."""
        problem = clean_text(problem)[:MAX_PROBLEM]
        if self.connected_since is not None or problem != self.problem:
            self._is_changed, self._written_at = True, float("-inf")
        self.connected_since, self.problem, self.figures = None, problem, {}

    def stored(self, count: int, last_at: datetime, backlog_count: int) -> None:
        """Note messages that the present transaction stores."""
        self.stored_count += count
        self.last_message_at = last_at
        self.backlog_count = backlog_count
        self._is_changed = True

    @property
    def is_due(self) -> bool:
        """Whether there is something to write, and it may be written."""
        return self._is_changed and self.now() - self._written_at >= SECONDS_BETWEEN

    def touch(self) -> None:
        """Have the time of the latest change written, as a sign that the connection lasts."""
        self._is_changed = True

    def write(self, connection: Connection, at: datetime) -> Callable[[], None]:
        """Write the row; call what is returned once the transaction is committed."""
        condition = mqtt_bridges.c.broker == self.broker
        count = self.stored_count
        values: dict[str, Any] = {
            "holder": self.holder,
            "connected_since": self.connected_since,
            "receive_maximum": self.receive_maximum,
            "backlog_count": self.backlog_count,
            "problem": self.problem,
            "topics": ",".join(self.topics),
            "broker_figures": json.dumps(self.figures, sort_keys=True) if self.figures else None,
            "changed_at": at,
        }
        for name in ("last_message_at", "session_lost_at"):
            if getattr(self, name) is not None:  # what an earlier bridge wrote stays
                values[name] = getattr(self, name)
        new = {"last_message_at": None, "session_lost_at": None, "message_count": 0}
        insert_absent(connection, mqtt_bridges, [{"broker": self.broker, **new, **values}])
        counted = {"message_count": mqtt_bridges.c.message_count + count}
        connection.execute(update(mqtt_bridges).where(condition).values(**values, **counted))

        def committed() -> None:
            self.stored_count -= count
            self._is_changed, self._written_at = False, self.now()

        return committed


class EarlierSession(NamedTuple):
    """Remains of an earlier bridge's session with a broker.

    Attributes:
        received_until: UTC time until which nothing is missing; None: no session was there.
        topics: Topic filters that the session may have.
    """

    received_until: datetime | None
    topics: Sequence[str]


def read_earlier_session(connection: Connection, broker: str) -> EarlierSession:
    """Return the end and the topics of an earlier bridge's session with a broker."""
    row = connection.execute(select(mqtt_bridges).where(mqtt_bridges.c.broker == broker)).first()
    if row is None:
        return EarlierSession(None, ())
    topics = row.topics.split(",") if row.topics else ()
    if row.connected_since is not None:  # it was killed while it was connected
        until = max(row.changed_at, row.last_message_at or row.changed_at)
        return EarlierSession(until, topics)
    return EarlierSession(row.last_message_at, topics)
