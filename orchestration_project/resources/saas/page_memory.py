"""What was on pages of the same bytes before, so that a look need not read them again.

Of 100,000 tasks in which nothing changed, reading and hashing takes longer than all else.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestration_project.connections.partial_files import partial_file
from orchestration_project.errors import ConfigurationError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """What a page said.

    Attributes:
        page: Its number, from 1.
        pages: How many there are.
        count: How many tasks there are on all of them.
        digests: Of its tasks, by their id.
    """

    page: int
    pages: int
    count: int
    digests: Mapping[str, str]


class PageMemory:
    """The pages of the latest look, by the SHA-256 of their bytes, in a file.

    They follow from the bytes and ``name``, which says how digests are made. So a file that is
    lost, damaged or of another name costs a look its time, and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def recalled(self, name: str) -> dict[str, Told]:
        """Return what is known of pages."""
        try:
            kept = json.loads(self._file.read_bytes())
            if kept["name"] != name:
                return {}
            return {sha256: Told(**told) for sha256, told in kept["pages"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be used, so all pages are read: %s", self._file, error)
            return {}

    def keep(self, name: str, pages: Mapping[str, Told]) -> None:
        """Keep just these.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        content = {"name": name, "pages": {sha256: asdict(each) for sha256, each in pages.items()}}
        folder = self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with partial_file(folder, prefix=self._file.stem, suffix=".partial") as (file, partial):
                file.write(json.dumps(content, separators=(",", ":")).encode())
                partial.replace(self._file)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self._file}",
                expected="a folder with free space, ours to write",
                found=os.strerror(error.errno or 0),
                remedy="mend the permissions of STATE_DIR, or free some disk",
            ) from error
