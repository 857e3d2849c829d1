"""The alerts in our database: raised once per cause, delivered once per channel."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    func,
    not_,
    or_,
    select,
    update,
)

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.attempts import REQUEST_LEASE
from orchestration_project.engine.contracts.problems import Problem, Severity
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.services.alerts.rows import (
    attach_notifications,
    change,
    count_repeated,
    is_evaluated,
    keep,
    open_alerts,
    parse_message,
    settle,
    store,
)
from orchestration_project.services.alerts.rules.channels import (
    FAILURE_WINDOW,
    ChannelReach,
    Pending,
    summarize_reach,
)
from orchestration_project.services.alerts.rules.decisions import (
    CLOCK_SKEW_TOLERANCE,
    AlertDecision,
    decide,
    wait_after,
)
from orchestration_project.services.alerts.rules.digest import AlertDelivery
from orchestration_project.services.alerts.rules.messages import RECOVERED, Message, build_recovery
from orchestration_project.services.alerts.rules.notification import (
    EVERYTHING,
    Facts,
    Policy,
    build_facts,
    build_message_facts,
)
from orchestration_project.tables.operations_alerts import operations_alert_deliveries as deliveries
from orchestration_project.tables.operations_alerts import operations_alerts as alerts
from orchestration_project.tables.operations_alerts import operations_evaluations as evaluations

MAX_DUE_DELIVERIES = 5000
"""Deliveries to one channel that a tick looks at."""

Wording = Callable[[AlertDecision], Sequence[Message]]
"""Puts a decision into words."""


def build_wording(message: Message) -> Wording:
    """Return the words of a look that may raise just this."""
    return lambda decision: [message] if decision.raised else []


def build_recovery_wording(how: str) -> Wording:
    """Return the words of what may make something well."""
    return lambda decision: [build_recovery(decision.recovered, how)] if decision.recovered else []


def is_always_open(_: Problem) -> bool:
    """Say of each problem that it is not well: only others are looked at."""
    return False


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Select the deliveries whose next attempt is due.

    The first attempt waits for nothing, nor does what a clock wrote that has been set back since.
    The clock of DEMO_CLOCK_NOW is set back with each process, and Dagster's daemon starts another
    code server every few minutes.
    """
    c = deliveries.c
    is_refused = c.failed_at.is_not(None)
    return or_(
        c.attempt_count == 0,
        c.next_attempt_at <= now,
        c.next_attempt_at > now + CLOCK_SKEW_TOLERANCE,
        and_(is_refused, c.failed_at > now),
        and_(not_(is_refused), c.next_attempt_at > now + REQUEST_LEASE),
    )


@dataclass(frozen=True, kw_only=True)
class AlertState:
    """How an open alert stands.

    Attributes:
        since: When the first alert of these problems was raised, of which this is a later one.
        problems: Kind, subject and detail of what is not well, as JSON.
        body: Its text.
    """

    alert_id: str
    kind: str
    severity: Severity
    title: str
    raised_at: datetime
    since: datetime
    repeated_count: int
    undelivered: Sequence[str]
    problems: str
    body: str
    run_id: str | None
    job: str | None
    assets: Sequence[str]


def read_alert_states(warehouse: Warehouse, limit: int | None = None) -> list[AlertState]:
    """Return the open alerts, the latest first."""
    is_open = alerts.c.state == "open"
    waiting = select(deliveries.c.alert_id, deliveries.c.channel).where(
        deliveries.c.state.in_(["pending", "failed"]),
        deliveries.c.alert_id.in_(select(alerts.c.alert_id).where(is_open)),
    )
    query = select(alerts).where(is_open).order_by(alerts.c.raised_at.desc()).limit(limit)
    title = alerts.c.title.cast(Text)
    titles = select(title).where(is_open)
    replaced = select(alerts.c.kind, alerts.c.title, alerts.c.ended_at, alerts.c.raised_at).where(
        alerts.c.state == "replaced", title.in_(titles)
    )
    with warehouse.reading() as connection:
        undelivered: dict[str, list[str]] = {}
        for alert_id, channel in connection.execute(waiting):
            undelivered.setdefault(alert_id, []).append(channel)
        earlier = {
            (row.kind, row.title, row.ended_at): row.raised_at
            for row in connection.execute(replaced)
        }
        return [
            AlertState(
                alert_id=row.alert_id,
                kind=row.kind,
                severity=row.severity,
                title=row.title,
                raised_at=row.raised_at,
                since=_find_first_raised(row.kind, row.title, row.raised_at, earlier),
                repeated_count=row.repeated_count,
                undelivered=undelivered.get(row.alert_id, []),
                problems=row.open_problems,
                body=row.body,
                run_id=row.run_id,
                job=row.job,
                assets=json.loads(row.assets),
            )
            for row in connection.execute(query)
        ]


def _find_first_raised(
    kind: str,
    title: str,
    raised_at: datetime,
    earlier: Mapping[tuple[str, str, datetime | None], datetime],
) -> datetime:
    """Return when the first of the alerts was raised that replaced each other.

    Args:
        kind: Kind of the latest.
        title: Its title.
        raised_at: When it was raised.
        earlier: When replaced alerts were raised, by kind, title and end.
    """
    while (kind, title, raised_at) in earlier:
        raised_at = earlier[kind, title, raised_at]
    return raised_at


class Inbox:
    """Stores alerts for the channels of ``policy``; each method is one transaction."""

    def __init__(self, warehouse: Warehouse, policy: Policy, *, clock: Clock) -> None:
        self._warehouse = warehouse
        self._policy = policy
        self._clock = clock

    def take(
        self,
        cause: str,
        bad: frozenset[Problem],
        is_well: Callable[[Problem], bool],
        words: Wording,
        facts: Callable[[Problem], Facts] = build_facts,
    ) -> list[Message]:
        """Store the alerts that ``cause`` raises, repeats and recovers, once; return messages."""
        now = self._clock.now()
        with self._deciding() as connection:
            if is_evaluated(connection, cause):
                return []
            insert_absent(connection, evaluations, [{"cause": cause, "evaluated_at": now}])
            decision = self._decide(connection, bad, is_well, facts, now)
            messages = self._store_messages(connection, cause, decision, words, now)
            count_repeated(connection, decision, now)
        return messages

    def observe(
        self, bad: frozenset[Problem], is_well: Callable[[Problem], bool], words: Wording
    ) -> list[Message]:
        """Store the alerts that a lasting condition, such as a full disk, raises and recovers.

        It may be observed at every tick: an alert that was sent does not count as a repetition.
        """
        now = self._clock.now()
        with self._deciding() as connection:
            decision = self._decide(connection, bad, is_well, build_facts, now)
            about = sorted({problem.subject for problem in bad} - {""})
            about = about or sorted(open_alert.alert_id for open_alert in decision.recovered)
            cause = " ".join([f"seen {now.isoformat()}", *about])
            return self._store_messages(connection, cause, decision, words, now)

    def close(self, alert_id: str) -> list[Message]:
        """Recover all problems of an open alert; return the messages."""
        with self._warehouse.reading() as connection:
            closed = [
                open_alert
                for open_alert in open_alerts(connection)
                if open_alert.alert_id == alert_id
            ]
        about = frozenset(problem for alert in closed for problem in alert.problems)
        return self.recover(f"closed {alert_id}", about.__contains__, "manually: it was closed")

    def recover(self, cause: str, is_well: Callable[[Problem], bool], how: str) -> list[Message]:
        """Store the alerts that ``cause`` recovers, once; return the messages."""
        return self.take(cause, frozenset(), is_well, build_recovery_wording(how))

    @contextmanager
    def _deciding(self) -> Iterator[Connection]:
        """One process at a time decides, so that of a problem there is one open alert."""
        with self._warehouse.writing() as connection:
            lock_row(connection, alerts.name)
            yield connection

    def store_once(self, cause: str, message: Message) -> None:
        """Store a message that is about no problem, for every channel; once per cause."""
        everybody = {channel.name: EVERYTHING.name for channel in self._policy.channels}
        with self._warehouse.writing() as connection:
            store(connection, cause, message, everybody, self._clock.now())

    def _decide(
        self,
        connection: Connection,
        bad: frozenset[Problem],
        is_well: Callable[[Problem], bool],
        facts: Callable[[Problem], Facts],
        now: datetime,
    ) -> AlertDecision:
        known_open_alerts = [
            alert
            for alert in open_alerts(connection)
            if any(problem in bad or is_well(problem) for problem in alert.problems)
        ]
        return decide(
            bad,
            is_well,
            attach_notifications(connection, known_open_alerts),
            now=now,
            window=self._policy.window,
            routes={problem: self._policy.routes(facts(problem)) for problem in bad},
        )

    def _store_messages(
        self,
        connection: Connection,
        cause: str,
        decision: AlertDecision,
        words: Wording,
        now: datetime,
    ) -> list[Message]:
        messages = list(words(decision))
        for message in messages:
            alert_id = store(connection, cause, message, self._recipients(message, decision), now)
            if message.problems:
                keep(connection, alert_id, decision, now)
        settle(connection, decision, now)
        return messages

    def _recipients(self, message: Message, decision: AlertDecision) -> Mapping[str, str]:
        """Return the rule by which each channel is notified."""
        if message.problems:
            return decision.fresh
        if message.kind == RECOVERED:
            present = {channel.name for channel in self._policy.channels}
            rules = self._policy.recovery_rules(decision.recovered)
            return {name: rule for name, rule in rules.items() if name in present}
        routes = self._policy.routes(build_message_facts(message))
        return {name: route.rule for name, route in routes.items()}

    def notices_of(self, run_id: str) -> set[tuple[str, str]]:
        """Return the kinds of alerts that a run's ends raised, by partition; "" if of none."""
        row_query = select(alerts.c.kind, alerts.c.partitions).where(alerts.c.run_id == run_id)
        with self._warehouse.reading() as connection:
            rows = connection.execute(row_query).all()
        return {(kind, key) for kind, keys in rows for key in json.loads(keys) or [""]}

    def open_problems(self, kinds: Collection[str]) -> set[Problem]:
        """Return the problems of these kinds that open alerts have."""
        with self._warehouse.reading() as connection:
            known_open_alerts = open_alerts(connection)
        return {
            problem
            for alert in known_open_alerts
            for problem in alert.problems
            if problem.kind in kinds
        }

    def standing(self) -> list[AlertState]:
        """Return the open alerts, the latest first."""
        return read_alert_states(self._warehouse)

    def due(self, channel: str) -> list[AlertDelivery]:
        """Return the deliveries to ``channel`` whose time has come, the oldest alert first.

        The message that all is well waits for what it ends: no failure comes after it.
        """
        now = self._clock.now()
        waits = and_(deliveries.c.channel == channel, deliveries.c.state == "pending")
        is_due = _is_due(now)
        closed_unsent = (  # with the time of what made it well, which is of the same transaction
            select(alerts.c.ended_at)
            .join(deliveries, alerts.c.alert_id == deliveries.c.alert_id)
            .where(waits, not_(is_due), alerts.c.ended_at.is_not(None))
        )
        row_query = (
            select(deliveries.c.channel, deliveries.c.rule, deliveries.c.attempt_count, alerts)
            .join(alerts, alerts.c.alert_id == deliveries.c.alert_id)
            .where(
                waits,
                is_due,
                or_(alerts.c.kind != RECOVERED, alerts.c.raised_at.not_in(closed_unsent)),
            )
            .order_by(alerts.c.raised_at, alerts.c.alert_id)
            .limit(MAX_DUE_DELIVERIES)
        )
        with self._warehouse.reading() as connection:
            return [
                AlertDelivery(
                    row.alert_id,
                    row.channel,
                    row.rule or EVERYTHING.name,
                    row.attempt_count,
                    row.raised_at,
                    parse_message(row),
                )
                for row in connection.execute(row_query)
            ]

    def waiting(self) -> dict[str, int]:
        """Return how many deliveries are pending, by channel."""
        row_query = (
            select(deliveries.c.channel, func.count())
            .where(deliveries.c.state == "pending")
            .group_by(deliveries.c.channel)
            .order_by(deliveries.c.channel)
        )
        with self._warehouse.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(row_query)}

    def reaches(self) -> list[ChannelReach]:
        """Return how each channel stands that did not take all that is for it."""
        d, now = deliveries.c, self._clock.now()
        row_query = select(
            d.channel, d.state, d.attempt_count, d.last_error, d.next_attempt_at, d.failed_at
        ).where(
            (d.state == "pending") | ((d.state == "failed") & (d.failed_at > now - FAILURE_WINDOW)),
        )
        with self._warehouse.reading() as connection:
            return summarize_reach(cast("list[Pending]", connection.execute(row_query).all()), now)

    def claim(self, chosen: Sequence[AlertDelivery]) -> list[AlertDelivery]:
        """Begin an attempt; return those of which no other process was quicker to begin one."""
        until = self._clock.now() + REQUEST_LEASE
        with self._warehouse.writing() as connection:
            return [
                alert_delivery
                for alert_delivery in chosen
                if change(
                    connection,
                    alert_delivery,
                    alert_delivery.attempts,
                    attempt_count=alert_delivery.attempts + 1,
                    next_attempt_at=until,
                )
            ]

    def delivered(self, sent: Sequence[AlertDelivery]) -> None:
        """Record that the channel took these, in one message."""
        values = {
            "state": "delivered",
            "delivered_at": self._clock.now(),
            "digest_count": len(sent),
        }
        with self._warehouse.writing() as connection:
            for alert_delivery in sent:
                change(connection, alert_delivery, alert_delivery.attempts + 1, **values)

    def refused(self, sent: Sequence[AlertDelivery], reason: str) -> None:
        """Record why an attempt was in vain, and when the next one is due."""
        now = self._clock.now()
        with self._warehouse.writing() as connection:
            for alert_delivery in sent:
                change(
                    connection,
                    alert_delivery,
                    alert_delivery.attempts + 1,
                    last_error=reason,
                    failed_at=now,
                    next_attempt_at=now + wait_after(alert_delivery.attempts + 1),
                )

    def give_up_others(self, names: Sequence[str]) -> None:
        """Give up what is pending for channels that are none of ``names``."""
        statement = (
            update(deliveries)
            .where(deliveries.c.state == "pending", deliveries.c.channel.not_in(names))
            .values(
                state="failed",
                last_error="the channel is no longer among those that are set",
                failed_at=self._clock.now(),
            )
        )
        with self._warehouse.writing() as connection:
            connection.execute(statement)
