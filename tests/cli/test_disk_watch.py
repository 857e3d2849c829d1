"""Messages of `ui` about a disk that fills up below its state."""

import errno
from pathlib import Path

from orchestration_project.cli.full_disk import DiskWatch

MIB = 2**20


def test_a_full_disk_is_told_once_and_so_is_its_end():
    told: list[str] = []
    watch = DiskWatch(Path("/state/dagster"), told.append)
    for free in (100 * MIB, 0, 4096, 2 * MIB, 0, 100 * MIB, 50 * MIB, 0):
        watch.saw(free)
    assert [each.partition(":")[0].strip() for each in told] == [
        "The disk of /state/dagster is full",
        "The disk of /state/dagster has space again.",
        "The disk of /state/dagster is full",
    ]
    assert "Make space" in told[0]


def test_what_cannot_be_told_because_it_goes_to_the_full_disk_ends_nothing_and_is_told_later():
    told: list[str] = []

    def tell(words: str) -> None:
        if len(told) < 2:
            told.append("refused")
            raise OSError(errno.ENOSPC, "No space left on device")
        told.append(words)

    watch = DiskWatch(Path("/state"), tell)
    for free in (0, 0, 0, 0):
        watch.saw(free)
    assert [each[:4] for each in told] == ["refu", "refu", "The "]


def test_the_free_space_is_that_of_the_folders_disk(tmp_path):
    told: list[str] = []
    DiskWatch(tmp_path, told.append).look()
    assert told == []
