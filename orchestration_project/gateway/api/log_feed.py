"""New log lines of this host's programs, as a feed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration_project.engine.contracts.api.program_logs import LogLine
from orchestration_project.engine.contracts.log_lines import write_positions
from orchestration_project.gateway.api.feeds import Entry, FeedPage, FeedSource
from orchestration_project.services.program_logs.reading import find_ends, read_new_lines

Positions = Mapping[str, int]
"""Position up to which the log of each service was read."""


@dataclass(frozen=True)
class LogSource(FeedSource[Positions]):
    """Log lines below the folder of all services."""

    folder: Path
    event_type: str = "line"

    def read(self, after: Positions) -> FeedPage[Positions]:
        """Return the lines after some positions."""
        lines = read_new_lines(self.folder, after)
        entries: list[Entry[Positions]] = []
        positions = after
        for line in lines.lines:
            positions = {**positions, line.service: line.end}
            model = LogLine.model_validate({**line.fields, "position": line.position})
            text = json.dumps(model.model_dump())
            entries.append(Entry(positions, line, text, self.write_event(text, positions)))
        return FeedPage(entries, lines.positions, lines.is_more)

    def read_end(self) -> Positions:
        """Return the positions of now."""
        return find_ends(self.folder)

    def advance(self, cursor: Positions, entry: Entry[Positions]) -> Positions | None:
        """Return the positions after a line; None: they are after it already."""
        line = entry.subject
        is_sent = line.end <= cursor.get(line.service, 0)
        return None if is_sent else {**cursor, line.service: line.end}

    def is_behind(self, cursor: Positions, other: Positions) -> bool:
        """Whether any position is before the other one of its service."""
        return any(cursor.get(service, 0) < position for service, position in other.items())

    def limit(self, cursor: Positions, end: Positions) -> Positions:
        """Return positions at most at the ends: a log that is shorter now began again."""
        return {service: min(at, end.get(service, 0)) for service, at in cursor.items()}

    def write_cursor(self, cursor: Positions) -> str:
        """Return positions as the ID of an event."""
        return write_positions(cursor)
