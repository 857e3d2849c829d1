"""The bridge: one leader receives a broker's messages, stores them, then acknowledges them.

A message is acknowledged after the transaction that stores it. Whatever ends before that, process,
connection or database, the broker sends the message again.
"""

import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import TypeVar

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.attempts import compute_backoff
from orchestration_project.engine.leases import (
    Lease,
    LostLeaseError,
    give_back,
    renew,
    require_lease,
    take,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.mqtt.arrivals import insert_arrivals
from orchestration_project.resources.mqtt.batching import (
    BATCH_MESSAGES,
    Backlog,
    ReceivedMessage,
)
from orchestration_project.resources.mqtt.bridge_states import (
    BridgeState,
    EarlierSession,
    read_earlier_session,
)
from orchestration_project.resources.mqtt.broker import Broker
from orchestration_project.resources.mqtt.connection import BrokerConnection

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")

LEASE_SECONDS = 15.0
"""Time after which another bridge replaces one that was killed."""

FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 1.0, 60.0
"""Delay before the next attempt to connect: it doubles from the first to the longest."""

LASTING_SECONDS = 10.0
"""A connection that lasted so long has the delay begin from the first one."""

MAX_DATABASE_DELAY_SECONDS = 5.0
POLL_SECONDS = 0.2


def backoff_seconds(attempt: int, first: float, longest: float, draw: float) -> float:
    """Return the delay before attempt ``attempt`` + 1, in seconds.

    It doubles with each attempt, from ``first`` to ``longest``; ``draw``, from 0 to 1, takes up
    to half of it away, so that not all clients of a broker come back at once.
    """
    return compute_backoff(attempt + 1, first, longest) * (1 - draw / 2)


def holder_name() -> str:
    """Return the name of this process as holder of a lease: host, process ID and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass
class Bridge:
    """Leads, or waits until the leader's lease ends.

    Attributes:
        warehouse: Database with mqtt_inbox.
        clock: Times of arrivals and leases.
        broker: What is received.
        max_bytes: Size from which only the head of a message is stored.
        meanwhile: Called with each new connection, such as to publish by it; what it returns is
            called when the connection ends.
        lease_seconds: Time after which a killed leader is replaced.
        first_delay_seconds: Delay before the second attempt to connect.
    """

    warehouse: Warehouse
    clock: Clock
    broker: Broker
    max_bytes: int
    meanwhile: Callable[[BrokerConnection], Callable[[], None]] = lambda _: lambda: None
    lease_seconds: float = LEASE_SECONDS
    first_delay_seconds: float = FIRST_DELAY_SECONDS
    holder: str = field(default_factory=holder_name)
    monotonic: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    _renewed_at: float = field(default=float("-inf"), init=False)

    def run(self, stop: Event) -> None:
        """Receive until ``stop`` is set; then what was stored is acknowledged, the rest is not."""
        while not stop.is_set():
            lease = self._await_lease(stop)
            if lease is None:
                return
            LOG.info(
                "leading bridge of %s", self.broker.name, extra={"event": "mqtt_bridge_leading"}
            )
            try:
                self._lead(lease, stop)
            except LostLeaseError:
                LOG.warning(
                    "another bridge of %s has taken over",
                    self.broker.name,
                    extra={"event": "mqtt_bridge_replaced"},
                )
            else:
                self._give_back(lease)

    def _await_lease(self, stop: Event) -> Lease | None:
        """Return the lease once no other bridge has it; None: this one was stopped before."""
        attempt = 0
        while not stop.is_set():
            try:
                lease = self._take_lease()
            except OrchestrationError as error:
                self._delay_for_database(error, attempt, stop)
                attempt += 1
                continue
            if lease is not None:
                return lease
            stop.wait(self.lease_seconds / 10)
        return None

    def _take_lease(self) -> Lease | None:
        with self.warehouse.writing() as connection:
            now = self.clock.now()
            self._renewed_at = self.monotonic()
            return take(
                connection, self._lease_name, holder=self.holder, now=now, until=self._until(now)
            )

    @property
    def _lease_name(self) -> str:
        return f"mqtt/bridge|{self.broker.name}"

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.lease_seconds)

    def _give_back(self, lease: Lease) -> None:
        try:
            with self.warehouse.writing() as connection:
                give_back(connection, lease)
        except OrchestrationError as error:  # it ends by itself
            self._log_database(error)

    def _lead(self, lease: Lease, stop: Event) -> None:
        """Connect over and over, until ``stop`` is set.

        Raises:
            LostLeaseError: Another bridge leads now.
        """
        state = BridgeState(
            self.broker.name, self.holder, self.broker.receive_maximum, self.monotonic
        )
        nothing = EarlierSession(None, ())
        earlier = self._when_database_is_there(self._read_earlier_session, stop, default=nothing)
        received_until = earlier.received_until
        state.topics = sorted({*earlier.topics, *self.broker.topics})
        self._write_state(lease, state)
        attempt = 0
        while not stop.is_set():
            self._when_database_is_there(lambda: self._renew(lease), stop, default=None)
            backlog = Backlog(max(BATCH_MESSAGES, self.broker.receive_maximum), self.monotonic)
            names = set(state.topics) - set(self.broker.topics)
            connection = BrokerConnection(self.broker, self.clock, backlog.add, sorted(names))
            try:
                with connection:
                    connected_at = self.monotonic()
                    try:
                        self._connected(state, connection, received_until)
                        self._serve(connection, backlog, lease, state, stop)
                    finally:
                        backlog.close()
                        if self.monotonic() - connected_at > LASTING_SECONDS:
                            attempt = 0
                if connection.problem is not None:
                    raise connection.problem
            except LostLeaseError:
                raise
            except OrchestrationError as error:
                self._drain(backlog, lease, state, stop)
                if state.connected_since is None:  # the next login may find the session of this one
                    self._note_lost_session(state, connection, received_until)
                received_until = self._disconnected(state, error, received_until)
                self._delay(lease, state, attempt, stop)
                attempt += 1
        state.disconnected("the bridge was stopped")
        self._write_state(lease, state)

    def _read_earlier_session(self) -> EarlierSession:
        with self.warehouse.reading() as connection:
            return read_earlier_session(connection, self.broker.name)

    def _connected(
        self, state: BridgeState, connection: BrokerConnection, received_until: datetime | None
    ) -> None:
        state.connected(self.clock.now(), self.broker.topics)
        LOG.info("connected to %s", self.broker.name, extra={"event": "mqtt_bridge_connected"})
        self._note_lost_session(state, connection, received_until)

    def _note_lost_session(
        self, state: BridgeState, connection: BrokerConnection, received_until: datetime | None
    ) -> None:
        if received_until is not None and connection.has_session is False:
            state.session_lost_at = received_until
            LOG.warning(
                "%s has lost the session: messages may be missing from %s on",
                self.broker.name,
                received_until.isoformat(),
                extra={"event": "mqtt_session_lost"},
            )

    def _disconnected(
        self, state: BridgeState, error: OrchestrationError, received_until: datetime | None
    ) -> datetime | None:
        """Note the end of a connection; return until when nothing is missing."""
        was_connected = state.connected_since is not None
        text = str(error)
        if was_connected or text != state.problem:
            LOG.warning("%s", text, extra={"event": "mqtt_bridge_disconnected"})
        state.disconnected(text)
        return self.clock.now() if was_connected else received_until

    def _serve(
        self,
        connection: BrokerConnection,
        backlog: Backlog,
        lease: Lease,
        state: BridgeState,
        stop: Event,
    ) -> None:
        """Store and acknowledge what arrives, as long as the connection lasts."""
        stop_publishing = self.meanwhile(connection)
        try:
            while connection.is_connected and not stop.is_set():
                messages = backlog.take(POLL_SECONDS)
                if messages:
                    if not self._store(messages, backlog, lease, state, stop):
                        return
                    connection.acknowledge(messages)
                state.figures = dict(connection.figures)  # written with the next change
                self._keep_up(lease, state, stop)
        finally:
            stop_publishing()

    def _drain(self, backlog: Backlog, lease: Lease, state: BridgeState, stop: Event) -> None:
        """Store the messages from before the connection ended; the broker sends them again."""
        while (messages := backlog.take(0)) and self._store(messages, backlog, lease, state, stop):
            pass

    def _store(
        self,
        messages: Sequence[ReceivedMessage],
        backlog: Backlog,
        lease: Lease,
        state: BridgeState,
        stop: Event,
    ) -> bool:
        """Store messages in one transaction; while the database is away, try again.

        Returns:
            Whether they are stored; False: it was stopped before.
        """
        state.stored(len(messages), messages[-1].received_at, len(backlog))

        def store() -> bool:
            with self.warehouse.writing() as connection:
                require_lease(connection, lease)
                insert_arrivals(connection, self.broker.name, messages, max_bytes=self.max_bytes)
                committed = state.write(connection, self.clock.now()) if state.is_due else None
            if committed is not None:
                committed()
            return True

        is_stored = self._when_database_is_there(store, stop, default=False)
        if not is_stored:
            state.stored_count -= len(messages)
        return is_stored

    def _keep_up(self, lease: Lease, state: BridgeState, stop: Event) -> None:
        """Renew the lease in time, and write the state where it changed."""
        if self.monotonic() - self._renewed_at >= self.lease_seconds / 3:
            state.touch()
            self._when_database_is_there(lambda: self._renew(lease), stop, default=None)
        if state.is_due:
            self._write_state(lease, state)

    def _renew(self, lease: Lease) -> None:
        with self.warehouse.writing() as connection:
            renew(connection, lease, self._until(self.clock.now()))
        self._renewed_at = self.monotonic()

    def _write_state(self, lease: Lease, state: BridgeState) -> None:
        try:
            with self.warehouse.writing() as connection:
                require_lease(connection, lease)
                committed = state.write(connection, self.clock.now())
        except LostLeaseError:
            raise
        except OrchestrationError as error:  # a later state says it
            self._log_database(error)
        else:
            committed()

    def _delay(self, lease: Lease, state: BridgeState, attempt: int, stop: Event) -> None:
        """Wait before the next attempt to connect, and keep the lease meanwhile."""
        end = self.monotonic() + backoff_seconds(
            attempt, self.first_delay_seconds, MAX_DELAY_SECONDS, self.draw()
        )
        while not stop.is_set() and (number := end - self.monotonic()) > 0:
            self._keep_up(lease, state, stop)
            stop.wait(min(number, POLL_SECONDS))

    def _when_database_is_there(
        self, action: Callable[[], Result], stop: Event, *, default: Result
    ) -> Result:
        """Return the result of ``action``, retried until the database executes it.

        Nothing else is done meanwhile: a connection that brings more than its window waits.

        Raises:
            LostLeaseError: Another bridge leads now.
        """
        attempt = 0
        while not (attempt and stop.is_set()):
            try:
                return action()
            except LostLeaseError:
                raise
            except OrchestrationError as error:
                self._delay_for_database(error, attempt, stop)
                attempt += 1
        return default

    def _delay_for_database(self, error: OrchestrationError, attempt: int, stop: Event) -> None:
        if attempt == 0:
            self._log_database(error)
        stop.wait(backoff_seconds(attempt, 0.1, MAX_DATABASE_DELAY_SECONDS, self.draw()))

    def _log_database(self, error: OrchestrationError) -> None:
        LOG.warning("%s", error, extra={"event": "mqtt_database_unavailable"})
