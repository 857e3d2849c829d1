"""A folder of files that somebody else fills: which there are, their bytes, and what is no data."""

from collections.abc import Sequence
from pathlib import Path

from orchestration_project.connections.files import file_bytes
from orchestration_project.contracts.delimited import read_header, unfinished_line
from orchestration_project.contracts.rules import Part, in_ascii
from orchestration_project.engine.captures import Capture
from orchestration_project.errors import ConfigurationError, SourceError, TransientError


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
        """Return the bytes of a file, as `file_bytes`."""
        return file_bytes(self.path, name, setting=self.setting)


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
        read_header(Part(1, body), body.removesuffix(b"\n"), columns)


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
