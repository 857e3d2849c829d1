"""A folder of documents with its subfolders: what lies there under any name."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from orchestration_project.domains.documents.arrivals import ListedFile
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.engine.connections.files import LOOP
from orchestration_project.engine.source import Folder
from orchestration_project.resources.documents.extraction import read_file
from orchestration_project.resources.documents.source import Listing, path_text, raw_path

EPOCH, LAST_TIME = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (1970, 9999))
"""The start of a file system's times, and the change time of a file whose own is not a date."""


class DocumentFolder:
    """The files of a folder; links are followed within it alone, and never to folders.

    Args:
        path: The folder.
        setting: What names it, for messages.
    """

    def __init__(self, path: Path, setting: str) -> None:
        self._folder = Folder(path, setting)
        self.setting = setting

    @property
    def shown_name(self) -> str:
        """Name of the source, for messages."""
        return f"the folder of {self.setting}"

    def listing(self) -> Listing:
        """Return all files of the folder and its subfolders; the names of one are held at a time.

        Pipes, devices and links that lead nowhere are listed too: reading them gives the reason.
        A folder that cannot be read raises `ConfigurationError`; a subfolder or file is noted.
        """
        unreadable: list[str] = []
        return Listing(self._files(unreadable), unreadable)

    def _files(self, unreadable: list[str]) -> Iterator[ListedFile]:
        """Yield the files in the order of their paths; a folder counts as its path and a slash."""
        waiting = [("", "", True, 0, LAST_TIME, "")]
        while waiting:
            path, raw, is_folder, byte_count, modified_at, version = waiting.pop()
            if not is_folder:
                yield path, byte_count, modified_at, version
                continue
            try:
                entries = self._entries(raw, path, unreadable)
            except OSError as error:
                if not raw:
                    raise self._folder.unusable(error) from error
                unreadable.append(path.removesuffix("/"))
                continue
            waiting += sorted(entries, reverse=True)

    def _entries(
        self, raw: str, text: str, unreadable: list[str]
    ) -> list[tuple[str, str, bool, int, datetime, str]]:
        """Return the entries of a folder; the path of another folder ends with a slash."""
        rows: list[tuple[str, str, bool, int, datetime, str]] = []
        with os.scandir(self._folder.path / raw) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    folder = f"{text}{path_text(name)}/", f"{raw}{name}/"
                    rows.append((*folder, True, 0, LAST_TIME, ""))
                    continue
                try:
                    status = _read_status(entry)
                except FileNotFoundError:
                    continue
                except OSError:
                    unreadable.append(text + path_text(name))
                else:
                    is_file = stat.S_ISREG(status.st_mode)
                    size, time = status.st_size if is_file else 0, _convert_time(status.st_mtime_ns)
                    version = str(status.st_ctime_ns)  # no program can set it
                    rows.append((text + path_text(name), "", False, size, time, version))
        return rows

    def url_of(self, path: str) -> str:
        """Return the path below the folder as a URL."""
        return f"file:{path}"

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the bytes of a listed file, if size and change time stay the same meanwhile."""
        return read_file(self.resolved(path), max_bytes=max_bytes)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a listed file."""
        try:
            with self.resolved(path).open("rb") as file:
                yield file
        except FileNotFoundError as error:
            raise DocumentError("vanished", str(error.strerror)) from error

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


def _read_status(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the status of what a file or link leads to, else of the link.

    Raises:
        FileNotFoundError: It is gone already.
        OSError: Its status cannot be read.
    """
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _convert_time(nanoseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(0, 0, nanoseconds // 1000)
    except OverflowError:
        return LAST_TIME
