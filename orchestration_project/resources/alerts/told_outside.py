"""Whom `alerts watch` told that the database is lost, which can keep nothing itself then."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path


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
        with suppress(OSError):
            self._file.write_text(json.dumps({name: at.isoformat() for name, at in told.items()}))

    def forget(self) -> None:
        """Take the database for found again."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
