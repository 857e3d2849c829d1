"""State of the demo in its folder: the anchor, and the faults that it has served."""

import json
import os
from datetime import date
from pathlib import Path


def write_atomically(path: Path, content: object) -> None:
    """Write ``content`` as JSON so that a reader sees the old file or the new one, never half."""
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class Memory:
    """State that outlives the server; deleting its file starts over.

    The anchor is the day (in New York) of the very first start: faults lie relative to it, so they
    stay on their weeks when a later server runs with a later clock.
    """

    def __init__(self, path: Path, today: date) -> None:
        self._path = path
        state = json.loads(path.read_text()) if path.exists() else {}
        self.anchor = date.fromisoformat(state.get("anchor", today.isoformat()))
        self._served: list[str] = state.get("served", [])
        self._save()

    def serve_once(self, fault: str) -> bool:
        """Return True the first time that ``fault`` is requested, in the life of the folder."""
        if fault in self._served:
            return False
        self._served.append(fault)
        self._save()
        return True

    def _save(self) -> None:
        write_atomically(self._path, {"anchor": self.anchor.isoformat(), "served": self._served})
