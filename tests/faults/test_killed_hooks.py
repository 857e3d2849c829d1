"""A gateway that is killed between the commit and the answer: the sender repeats, and there is one.

Also what is killed while many deliver: what was acknowledged is there. And a run that is killed
while it loads deliveries: the next one loads each of them once.
"""

import socket
import threading
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import EPOCH
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.inbox.rows import (
    Inbox,
    NewDelivery,
    build_topic,
    open_delivery_items,
)
from orchestration_project.tables.spine import captures, inbox, inbox_states, landings
from orchestration_project.tables.webhooks import events_webhooks
from tests import databases, programs
from tests.gateway.conftest import SECRET, SOURCES, signed
from tests.runs import metadata_by_partition
from tests.webhook_runs import load_due

pytestmark = pytest.mark.faults


class Gateway:
    """The program over one STATE_DIR, started and killed as a machine would be."""

    def __init__(self, folder: Path) -> None:
        self._state_dir = folder / "state"
        self.url = databases.sqlite_url(self._state_dir)
        (folder / "webhooks.yaml").write_text(SOURCES)
        self._environment = {
            "WEBHOOKS_FILE": str(folder / "webhooks.yaml"),
            "WEBHOOK_SECRET_GIT": SECRET,
            "DISK_HEADROOM_MIB": "0",
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]

    def start(self, *options: str) -> None:
        arguments = ("tests.faults.hooks_server", str(self._port), *options)
        self.process = programs.start_unheard(self._state_dir, *arguments, **self._environment)
        programs.wait_for(self._listens, seconds=60)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def deliver(self, delivery_id: str) -> int | None:
        """Return how a delivery was answered; None: it was not."""
        body = b'{"n": "%s"}' % delivery_id.encode()
        headers = signed(body, x_github_delivery=delivery_id)
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{self._port}/hooks/git", content=body, headers=headers
            )
        except httpx.TransportError:
            return None
        return answer.status_code

    def stored(self) -> list[str]:
        rows = databases.rows(self.url, select(inbox.c.delivery_id))
        return [delivery_id for (delivery_id,) in rows]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def test_a_delivery_whose_answer_was_lost_is_there_once_when_the_sender_repeats_it(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.start("--killed")
    try:
        assert gateway.deliver("1") is None
        assert gateway.process.wait(60) == -9
        assert gateway.stored() == ["1"]
        gateway.start()
        assert gateway.deliver("1") == 200
        assert gateway.stored() == ["1"]
    finally:
        gateway.end()


def test_what_was_acknowledged_before_a_kill_is_there_and_the_rest_once_it_is_repeated(
    tmp_path,
):
    gateway = Gateway(tmp_path)
    gateway.start()
    ids = [f"{sender}-{n}" for sender in range(8) for n in range(50)]
    answers: dict[str, int | None] = {}

    def send(sender: int) -> None:
        for delivery_id in ids[sender * 50 : sender * 50 + 50]:
            answers[delivery_id] = gateway.deliver(delivery_id)

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    try:
        for thread in senders:
            thread.start()
        programs.wait_for(lambda: len(answers) > 60, seconds=60)
        gateway.end()
        for thread in senders:
            thread.join()
        acknowledged = {key for key, status in answers.items() if status == 202}
        assert 0 < len(acknowledged) < len(ids)
        assert acknowledged <= set(gateway.stored())
        gateway.start()
        assert {gateway.deliver(each) for each in ids} == {200, 202}
        assert sorted(gateway.stored()) == sorted(ids)
    finally:
        gateway.end()


@pytest.mark.parametrize("when", ["within", "after"])
def test_claims_of_a_killed_run_are_loaded_once(tmp_path, when):
    state_dir, ids = tmp_path / "state", [str(number) for number in range(5)]
    url = databases.sqlite_url(state_dir)
    state_dir.mkdir()
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        deliveries = [NewDelivery("git", delivery_id, None, b"{}", {}, 3) for delivery_id in ids]
        assert Inbox(warehouse, Clock()).take(deliveries) == ["stored"] * len(ids)
    program = programs.start(state_dir, "tests.faults.webhook_run", when)
    _, error = program.communicate(timeout=programs.PATIENCE_SECONDS)
    assert program.returncode == -9, error
    is_loaded = when == "after"
    assert databases.rows(url, select(func.count()).select_from(landings)) == [
        (len(ids) if is_loaded else 0,)
    ]
    with Warehouse(url, clock=Clock()) as warehouse:
        items = open_delivery_items(warehouse, Clock())
        items.expire(
            build_topic("git"), dict.fromkeys(items.lease_holders(build_topic("git")), EPOCH)
        )
        run = load_due(warehouse, Clock(), FolderStore(state_dir / "artifacts"), "git")
    found = metadata_by_partition(run)["webhooks"][None]
    loaded_count = 0 if is_loaded else len(ids)
    assert (found["deliveries_count"], found["landed_count"]) == (loaded_count, loaded_count)
    assert databases.rows(url, select(inbox_states.c.state).distinct()) == [("done",)]
    for table in (events_webhooks.c.delivery_id, captures.c.partition_key, landings.c.group_id):
        assert len(databases.rows(url, select(table))) == len(ids)
