"""A new password, or a language of OCR that is there now, has exactly what lacked it read again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestration_project.domains.documents.tables import documents_reader_setups
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.documents.setups import ReaderSetup, retry_for_new_setups
from orchestration_project.tables.spine import work_items
from tests.resources.weeks import StoppedClock

TOPICS = ("documents/2026-03-01", "documents/2026-03-02", "documents_replay/2026-03-01")
REASONS = ("encrypted", "corrupt", "needs_ocr", "ocr_language_missing", "loaded")

Poll = Callable[[str, str], set[tuple[str, str]]]


@pytest.fixture
def poll(warehouse: Warehouse, clock: StoppedClock) -> Poll:
    """A function of passwords and languages, which returns topic and reason of ready items."""
    items = WorkItems(warehouse, clock)

    def fail_ready() -> None:
        for topic in TOPICS:
            until = clock.now() + timedelta(minutes=5)
            claimed = items.claim(topic, limit=99, run_id="run", until=until)
            settlements = [
                ItemSettlement(item, "done")
                if item.key == "loaded"
                else ItemSettlement(item, "failed", reason_code=item.key, is_retryable=False)
                for item in claimed
            ]
            with warehouse.writing() as connection:
                items.settle(connection, settlements)

    def poll_and_check_count(passwords: str, languages: str) -> set[tuple[str, str]]:
        clock.at += timedelta(minutes=1)
        setups = (
            ReaderSetup("passwords", passwords, ("encrypted",)),
            ReaderSetup("ocr", languages, ("needs_ocr", "ocr_language_missing")),
        )
        with warehouse.writing() as connection:
            count = retry_for_new_setups(
                connection, setups, items, clock, topic_prefix="documents/"
            )
        wanted = select(work_items.c.topic, work_items.c.item_key)
        with warehouse.reading() as connection:
            ready = connection.execute(wanted.where(work_items.c.state == "ready")).all()
        assert count == len(ready)
        fail_ready()
        return {(topic, key) for topic, key in ready}

    for topic in TOPICS:
        items.enqueue(topic, [NewItem(reason, "1") for reason in REASONS])
    fail_ready()
    return poll_and_check_count


def of(*reasons: str) -> set[tuple[str, str]]:
    return {(topic, reason) for topic in TOPICS[:2] for reason in reasons}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_exactly_what_lacked_a_new_setup_is_ready_again(poll: Poll):
    assert poll("", "") == set()
    assert poll("first", "") == of("encrypted")
    assert poll("first", "") == set()
    assert poll("first\nsecond", "eng") == of("encrypted", "needs_ocr", "ocr_language_missing")
    assert poll("first\nsecond", "") == set()
    assert poll("", "") == set()


@pytest.mark.slow_after_first
def test_the_first_poll_has_what_failed_before_read_again(poll: Poll):
    assert poll("first", "eng") == of("encrypted", "needs_ocr", "ocr_language_missing")


@pytest.mark.slow_on_postgresql
def test_two_processes_with_different_passwords_do_not_read_the_same_files_over_and_over(
    poll: Poll, clock: StoppedClock
):
    assert poll("first", "") == poll("second", "") == of("encrypted")
    for _ in range(3):
        assert poll("first", "") == poll("second", "") == set()
    clock.at += timedelta(hours=2)
    assert poll("first", "") == of("encrypted")


@pytest.mark.slow_on_postgresql
def test_the_database_has_neither_a_password_nor_its_plain_hash(poll: Poll, warehouse: Warehouse):
    poll("first secret", "eng")
    with warehouse.reading() as connection:
        rows = connection.execute(select(documents_reader_setups)).all()
    assert {row.kind for row in rows} == {"passwords", "ocr"}
    assert "first secret" not in repr(rows)
    assert len({row.salt for row in rows}) == 1
    assert {len(row.fingerprint) for row in rows} == {64}
