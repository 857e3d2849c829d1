"""Equation of MQTT: stored messages = events + duplicates + dead letters + cleared + waiting."""

import json
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Row, and_, exists, func, or_, select

from orchestration_project.domains.mqtt.tables import mqtt_dead_letters, mqtt_inbox, mqtt_mirror
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.equations import BalanceFilter, Equation, SubjectBalance
from orchestration_project.resources.mqtt.ranges import (
    MESSAGES,
    TOPIC,
    bounds_of,
    count_messages,
    first_unread,
)
from orchestration_project.tables.spine import balances, work_items

STORED = "stored_messages"
MAX_BATCH_RANGES = 1_000


def read_messages(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield the equation of each range of arrivals that mqtt_inbox still has, and of what waits.

    The number of duplicates is the recorded one: only the key of a duplicate is kept. Ranges of
    which messages were forgotten by age are not counted.
    """
    unread = first_unread(connection)
    last = 0
    for item in _read_ranges(connection, chosen):
        first, end = bounds_of(item.item_key)
        if last and (skipped := count_messages(connection, last + 1, first - 1)):
            balance = Balance(STORED, skipped, {"events": 0})
            yield SubjectBalance(mqtt_mirror.name, f"{last + 1:012d}-{first - 1:012d}", balance)
        last = end
        if first < unread:
            yield _read_range(connection, item)
    of_waiting = select(func.count()).where(
        mqtt_inbox.c.arrival_id >= unread, chosen.holds(mqtt_inbox.c.received_at)
    )
    if count := connection.execute(of_waiting).scalar_one():
        balance = Balance(STORED, count, {"waiting": count})
        yield SubjectBalance(mqtt_mirror.name, "waiting", balance)


def _read_ranges(connection: Connection, chosen: BalanceFilter) -> Iterator[Row]:
    """Yield planned ranges in the order of arrivals, with the equation that each recorded."""
    item, recorded = work_items.c, balances.c
    condition = and_(
        recorded.table_name == mqtt_mirror.name,
        recorded.subject == item.item_key,
        recorded.equation == MESSAGES,
    )
    statement = (
        select(item.item_key, recorded.came_in, recorded.went_to)
        .select_from(work_items.outerjoin(balances, condition))
        .where(item.topic == TOPIC, chosen.holds(item.enqueued_at))
        .order_by(item.item_key)
        .execution_options(yield_per=MAX_BATCH_RANGES)
    )
    yield from connection.execute(statement)


def _read_range(connection: Connection, item: Row) -> SubjectBalance:
    first, last = bounds_of(item.item_key)
    count = count_messages(connection, first, last)
    if item.went_to is None:
        balance = Balance(STORED, None, {})
        return SubjectBalance(mqtt_mirror.name, item.item_key, balance, is_recorded=False)
    is_kept = count >= item.came_in
    duplicates = json.loads(item.went_to)["duplicates"]
    went_to = {**_count_places(connection, first, last), "duplicates": duplicates}
    balance = Balance(STORED, count if is_kept else None, went_to)
    return SubjectBalance(mqtt_mirror.name, item.item_key, balance)


def _count_places(connection: Connection, first: int, last: int) -> Mapping[str, int]:
    """Count stored messages of a range by where they are; a replayed letter is an event."""
    stored = mqtt_inbox.c
    is_event = exists().where(mqtt_mirror.c.arrival_id == stored.arrival_id)
    is_letter = exists().where(mqtt_dead_letters.c.arrival_id == stored.arrival_id)
    is_cleared = stored.byte_count == 0
    places = {
        "events": is_event,
        "dead_letters": and_(is_letter, ~is_event),
        "cleared": and_(is_cleared, ~or_(is_event, is_letter)),
    }
    counts = {}
    for name, condition in places.items():
        pair = (stored.arrival_id.between(first, last), condition)
        counts[name] = connection.execute(select(func.count()).where(*pair)).scalar_one()
    return counts


EQUATIONS = [
    Equation(
        name=STORED,
        meaning=(
            "stored messages of a range = events + duplicates + dead letters + cleared retained "
            "values; later ones wait"
        ),
        table_names=[mqtt_mirror.name],
        read=read_messages,
    )
]
