"""Messages of MQTT are collected for a short time, and never more than the window."""

from datetime import UTC, datetime
from threading import Thread

from orchestration_project.resources.mqtt.batching import Backlog, ReceivedMessage
from orchestration_project.resources.mqtt.bridge import backoff_seconds

AT = datetime(2026, 11, 2, 10, tzinfo=UTC)


class Time:
    """A monotonic clock that is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def message(number: int) -> ReceivedMessage:
    return ReceivedMessage("tracker/events/tasks/1", 1, False, False, b"{}", AT, number)


def fill_without_failure(count: int, capacity: int, time: Time) -> Backlog:
    backlog = Backlog(capacity, time)
    for number in range(1, count + 1):
        assert backlog.add(message(number))
    return backlog


def test_nothing_is_due_where_nothing_waits() -> None:
    backlog = Backlog(500, Time())
    assert backlog.seconds_until_due() is None
    assert backlog.take(0) == ()


def test_a_batch_is_due_when_the_broker_pauses() -> None:
    time = Time()
    backlog = fill_without_failure(
        20, 1_000, time
    )  # as many as mosquitto sends without an acknowledgement
    assert backlog.take(0) == ()
    time.seconds += 0.001
    assert [each.message_id for each in backlog.take(0)] == list(range(1, 21))
    assert len(backlog) == 0


def test_a_batch_is_due_after_5_ms_though_more_arrives() -> None:
    time = Time()
    backlog = Backlog(1_000, time)
    for number in range(1, 11):
        assert backlog.seconds_until_due() != 0
        backlog.add(message(number))
        time.seconds += 0.000_5
    time.seconds += 0.000_1
    assert len(backlog.take(0)) == 10


def test_500_messages_are_due_at_once_and_stay_in_order() -> None:
    backlog = fill_without_failure(700, 1_000, Time())
    first, second = backlog.take(0), backlog.take(0)
    numbers = [each.message_id for each in (*first, *second)]
    assert (len(first), len(second)) == (500, 200)
    assert numbers == list(range(1, 701))


def test_a_full_window_is_due_at_once() -> None:
    assert len(fill_without_failure(20, 20, Time()).take(0)) == 20


def test_a_full_backlog_stops_the_reader_until_messages_are_stored() -> None:
    backlog = fill_without_failure(20, 20, Time())
    reader = Thread(target=backlog.add, args=(message(21),))
    reader.start()
    assert len(backlog.take(0)) == 20
    reader.join(10)
    assert len(backlog) == 1


def test_a_closed_backlog_takes_nothing_more_and_gives_what_it_has() -> None:
    backlog = fill_without_failure(20, 20, Time())
    outcomes: list[bool] = []
    reader = Thread(target=lambda: outcomes.append(backlog.add(message(21))))
    reader.start()
    backlog.close()
    reader.join(10)
    assert outcomes == [False]
    assert len(backlog.take(0)) == 20


def test_delays_double_up_to_a_limit_and_differ_between_clients() -> None:
    longest = [backoff_seconds(attempt, 1, 60, 0) for attempt in range(8)]
    assert longest == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff_seconds(attempt, 1, 60, 1) for attempt in (0, 7)] == [0.5, 30]
