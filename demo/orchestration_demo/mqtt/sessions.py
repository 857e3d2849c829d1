"""Sessions, waiting messages and retained ones, in a file that outlives a killed broker."""

import json
import sqlite3
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from orchestration_demo.mqtt.wire import MQTT_3_1_1, Publish

TABLES = """
CREATE TABLE IF NOT EXISTS sessions (client_id TEXT PRIMARY KEY, subscriptions TEXT);
CREATE TABLE IF NOT EXISTS retained (
    topic TEXT PRIMARY KEY, payload BLOB, user_properties TEXT DEFAULT '[]'
);
CREATE TABLE IF NOT EXISTS waiting (
    number INTEGER PRIMARY KEY AUTOINCREMENT, client_id TEXT, topic TEXT, payload BLOB,
    is_retained INTEGER, user_properties TEXT DEFAULT '[]'
);
"""
MAX_NUMBER = 65_535


@dataclass
class Waiting:
    """A message of a session that is not acknowledged; ``row`` is its place in the file."""

    row: int
    message: Publish


@dataclass
class Session:
    """A client's subscriptions and unacknowledged messages.

    Attributes:
        subscriptions: QoS by topic filter.
        waiting: Messages that were not sent yet.
        in_flight: Messages that were sent, by packet identifier.
        window: Messages that may be in flight.
    """

    client_id: str
    is_kept: bool = False
    version: int = MQTT_3_1_1
    window: int = 20
    subscriptions: dict[str, int] = field(default_factory=dict)
    waiting: deque[Waiting] = field(default_factory=deque)
    in_flight: dict[int, Waiting] = field(default_factory=dict)
    _last_number: int = 0

    def next_number(self) -> int:
        """Return a packet identifier that is free."""
        while True:
            self._last_number = self._last_number % MAX_NUMBER + 1
            if self._last_number not in self.in_flight:
                return self._last_number


class SessionFile:
    """The file; what changed is kept from `commit` on."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")  # it survives a kill, not a power cut
        self._file.executescript(TABLES)
        for table in ("retained", "waiting"):
            self._add_user_properties(table)
        self._is_open = False

    def _add_user_properties(self, table: str) -> None:
        """Add the column to a table of a file that an earlier version wrote."""
        columns = self._file.execute("SELECT name FROM pragma_table_info(?)", (table,))
        if ("user_properties",) not in columns.fetchall():
            self._file.execute(f"ALTER TABLE {table} ADD user_properties TEXT DEFAULT '[]'")

    def close(self) -> None:
        """Keep what changed, and close the file."""
        self.commit()
        self._file.close()

    def commit(self) -> None:
        """Keep what changed."""
        if self._is_open:
            self._file.execute("COMMIT")
            self._is_open = False

    def _change(self, statement: str, *values: object) -> int:
        if not self._is_open:
            self._file.execute("BEGIN")
            self._is_open = True
        return self._file.execute(statement, values).lastrowid or 0

    def load(self) -> dict[str, Session]:
        """Return the sessions by client; all their messages wait."""
        sessions = {
            client_id: Session(client_id, True, subscriptions=json.loads(subscriptions))
            for client_id, subscriptions in self._file.execute("SELECT * FROM sessions")
        }
        rows = (
            "SELECT client_id, number, topic, payload, is_retained, user_properties "
            "FROM waiting ORDER BY number"
        )
        for client_id, row, topic, payload, is_retained, user in self._file.execute(rows):
            if client_id in sessions:
                message = Publish(
                    topic, payload, 1, bool(is_retained), user_properties=_user_properties(user)
                )
                sessions[client_id].waiting.append(Waiting(row, message))
        return sessions

    def save(self, session: Session) -> None:
        """Keep a session and its subscriptions."""
        subscriptions = json.dumps(session.subscriptions)
        self._change("REPLACE INTO sessions VALUES (?, ?)", session.client_id, subscriptions)

    def forget(self, session: Session) -> None:
        """Remove a session and its messages."""
        self._change("DELETE FROM sessions WHERE client_id = ?", session.client_id)
        self._change("DELETE FROM waiting WHERE client_id = ?", session.client_id)

    def add(self, session: Session, message: Publish) -> None:
        """Add a message to a session."""
        row = 0
        if session.is_kept:
            row = self._change(
                "INSERT INTO waiting (client_id, topic, payload, is_retained, user_properties) "
                "VALUES (?, ?, ?, ?, ?)",
                session.client_id,
                message.topic,
                message.payload,
                message.is_retained,
                json.dumps(message.user_properties),
            )
        session.waiting.append(Waiting(row, message))

    def remove(self, waiting: Waiting) -> None:
        """Remove a message that was acknowledged."""
        if waiting.row:
            self._change("DELETE FROM waiting WHERE number = ?", waiting.row)

    def retain(self, message: Publish) -> None:
        """Keep the message for new subscribers; an empty one removes the topic's."""
        self._change("DELETE FROM retained WHERE topic = ?", message.topic)
        if message.payload:
            user = json.dumps(message.user_properties)
            self._change(
                "INSERT INTO retained VALUES (?, ?, ?)", message.topic, message.payload, user
            )

    def retained(self) -> list[Publish]:
        """Return the messages that are kept for new subscribers."""
        rows = self._file.execute("SELECT * FROM retained ORDER BY topic")
        return [
            Publish(topic, payload, 1, True, user_properties=_user_properties(user))
            for topic, payload, user in rows
        ]


def _user_properties(written: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(written))
