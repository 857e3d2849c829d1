"""Messages of `ui` about a disk that fills up below its state."""

import errno
from pathlib import Path

from orchestration_project.cli.full_disk import DiskWatch

MIB = 2**20


def test_a_full_disk_and_its_end_are_reported_once():
    messages: list[str] = []
    watch = DiskWatch(Path("/state/dagster"), messages.append)
    for free in (100 * MIB, 0, 4096, 2 * MIB, 0, 100 * MIB, 50 * MIB, 0):
        watch.saw(free)
    assert [message.partition(":")[0].strip() for message in messages] == [
        "The disk of /state/dagster is full",
        "The disk of /state/dagster has space again.",
        "The disk of /state/dagster is full",
    ]
    assert "Make space" in messages[0]


def test_reports_that_a_full_disk_refuses_are_sent_later():
    messages: list[str] = []

    def log(words: str) -> None:
        if len(messages) < 2:
            messages.append("refused")
            raise OSError(errno.ENOSPC, "No space left on device")
        messages.append(words)

    watch = DiskWatch(Path("/state"), log)
    for free in (0, 0, 0, 0):
        watch.saw(free)
    assert [message[:4] for message in messages] == ["refu", "refu", "The "]


def test_the_free_space_is_that_of_the_folders_disk(tmp_path):
    messages: list[str] = []
    DiskWatch(tmp_path, messages.append).poll()
    assert messages == []
