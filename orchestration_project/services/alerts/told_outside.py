"""Whom `alerts watch` told that the database is lost, which can keep nothing itself then."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)


class ToldOutside:
    """A file of STATE_DIR; where that cannot be written, people are told again."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> dict[str, datetime]:
        """Return when each channel was told; nothing where the database was not lost since."""
        try:
            told = json.loads(self._file.read_text())
            return {name: datetime.fromisoformat(at) for name, at in told.items()}
        except (OSError, ValueError):
            return {}

    def keep(self, told: Mapping[str, datetime]) -> None:
        """Remember when each channel was told."""
        with self._told_of():
            self._file.write_text(json.dumps({name: at.isoformat() for name, at in told.items()}))

    def forget(self) -> None:
        """Take the database for found again."""
        with self._told_of():
            self._file.unlink(missing_ok=True)

    @contextmanager
    def _told_of(self) -> Iterator[None]:
        """Log that the file cannot be written: no alert is lost by that."""
        try:
            yield
        except OSError as error:
            log.warning("%s cannot be written, so people may be told again: %s", self._file, error)
