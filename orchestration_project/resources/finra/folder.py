"""A folder of files that somebody else fills: which there are, their bytes, and what is no data."""

import stat
from collections.abc import Sequence
from pathlib import Path

from orchestration_project.contracts import Part, in_ascii
from orchestration_project.domains.finra.header import read_header
from orchestration_project.domains.finra.parsing import unfinished_line
from orchestration_project.errors import ConfigurationError, SourceError, TransientError
from orchestration_project.resources.captures import Capture

LARGEST_FILE_BYTES = 256 * 1024 * 1024
"""A thousand times what a weekly file has; a partition is held in memory as a whole."""


class Folder:
    """The folder that ``setting`` names."""

    def __init__(self, path: Path, setting: str) -> None:
        self.path = path
        self.setting = setting

    def names(self) -> list[str]:
        """Return the names of what is in it, sorted.

        Raises:
            ConfigurationError: It cannot be read.
        """
        try:
            return sorted(each.name for each in self.path.iterdir())
        except OSError as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> ConfigurationError:
        """Return the error that the folder cannot be read."""
        return ConfigurationError(
            f"{self.setting} cannot be read",
            expected=f"a readable folder at {self.path}",
            found=str(error),
            remedy=f"correct {self.setting} or the folder's permissions",
        )

    def read(self, name: str) -> bytes:
        """Read a regular file of the folder; a link to one is followed, unless out of the folder.

        What a link elsewhere leads to would be quoted in errors, for all to read.

        Raises:
            SourceError: It is no such file, too large, or cannot be read.
        """
        try:
            path = (self.path / name).resolve(strict=True)
            if not path.is_relative_to(self.path.resolve()):
                raise self._unreadable(name, f"a link out of {self.setting}")
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise self._unreadable(name, "no regular file")
            if found.st_size > LARGEST_FILE_BYTES:
                raise self._unreadable(name, f"{found.st_size} bytes")
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # the latter: how Python 3.11 tells of a loop
            reason = getattr(error, "strerror", None) or "a loop of links"
            raise self._unreadable(name, reason) from error

    def _unreadable(self, name: str, found: str) -> SourceError:
        return SourceError(
            f"the file {name} cannot be read",
            expected=f"a regular file of at most {LARGEST_FILE_BYTES} bytes that this user may "
            f"read, or a link to one within {self.setting}",
            found=found,
            remedy="correct the file's permissions or its link, or put the file itself into the "
            "folder",
        )


def refuse_empty(name: str, capture: Capture, columns: Sequence[str]) -> None:
    """Refuse a file without rows."""
    if not capture.fetched.row_count:
        _refuse_what_is_no_text(capture.fetched.body, columns)
        raise SourceError(
            f"the file {name} holds no rows",
            expected="a header and at least one row",
            found=f"{len(capture.fetched.body)} bytes",
            remedy="download it again",
        )


def _refuse_what_is_no_text(body: bytes, columns: Sequence[str]) -> None:
    """Say what it is, where it has one line because it is something else."""
    if body:
        read_header(Part(1, body), body.removesuffix(b"\n"), columns, "|")


def refuse_cut(name: str, capture: Capture) -> None:
    """Refuse a file that ends within a line, as one does that is still being copied."""
    if rest := unfinished_line(capture.fetched.body):
        raise TransientError(
            f"the file {name} ends within a line",
            expected="a last line with as many fields as the header",
            found=in_ascii(rest, 400),
            remedy="if it is still being copied, wait (better: copy it under another name and "
            "rename it then); otherwise download it again",
        )
