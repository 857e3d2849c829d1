"""A folder of documents with its subfolders: what lies there under any name."""

import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

from orchestration_project.connections.files import LOOP
from orchestration_project.domains.documents.arrivals import Listed
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.source import Folder

ESCAPED = re.compile(
    "[%\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # bidi controls too
)

LAST_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""Change time of a file whose own lies outside of the calendar."""


def path_text(raw: str) -> str:
    """Return a path as text that every database stores, from which `raw_path` returns it."""
    return ESCAPED.sub(lambda found: "".join(f"%{each:02X}" for each in os.fsencode(found[0])), raw)


def raw_path(text: str) -> str:
    """Return the path of a text of `path_text`."""
    return os.fsdecode(unquote_to_bytes(text))


@dataclass(frozen=True)
class Listing:
    """Result of a poll: files by path, and folders that could not be read."""

    files: dict[str, Listed]
    unreadable: tuple[str, ...]


class DocumentFolder:
    """The files of a folder; links are followed within it alone, and never to folders.

    Args:
        path: The folder.
        setting: What names it, for messages.
    """

    def __init__(self, path: Path, setting: str) -> None:
        self._folder = Folder(path, setting)
        self.setting = setting

    def listing(self) -> Listing:
        """Return all files of the folder and its subfolders.

        Pipes, devices and links that lead nowhere are listed too: reading them gives the reason.

        Raises:
            ConfigurationError: The folder cannot be read.
        """
        found: dict[str, Listed] = {}
        unreadable: list[str] = []
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(self._folder.path / below) as entries:
                    for entry in entries:
                        name = os.path.join(below, entry.name)  # noqa: PTH118 - 100,000 of them
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(name)
                        elif listed := _listed(entry):
                            found[path_text(name)] = listed
            except OSError as error:
                if not below:
                    raise self._folder.unusable(error) from error
                unreadable.append(path_text(below))
        return Listing(found, tuple(sorted(unreadable)))

    def resolved(self, path: str) -> Path:
        """Return where the file of a listed path lies, links followed.

        Raises:
            DocumentError: ``vanished``, ``unreadable`` or ``not_a_file``: a link out of the folder.
        """
        try:
            found = (self._folder.path / raw_path(path)).resolve(strict=True)
            is_within = found.is_relative_to(self._folder.path.resolve())
        except FileNotFoundError as error:
            raise DocumentError("vanished", str(error.strerror)) from error
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: Python before 3.13
            raise DocumentError("unreadable", getattr(error, "strerror", None) or LOOP) from error
        if not is_within:
            raise DocumentError("not_a_file", f"a link out of {self.setting}")
        return found


def _listed(entry: os.DirEntry[str]) -> Listed | None:
    """Return size and change time of what a file or link leads to; None: it is gone already."""
    try:
        found = entry.stat(follow_symlinks=True)
    except OSError:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return None
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return Listed(size, _time(found.st_mtime_ns))


def _time(nanoseconds: int) -> datetime:
    try:
        seconds, rest = divmod(nanoseconds // 1000, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
    except (ValueError, OverflowError, OSError):
        return LAST_TIME
