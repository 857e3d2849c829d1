"""Log lines of programs: searched, and followed as they come."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from orchestration_project.client.asking import Requests, frame_of_models
from orchestration_project.engine.contracts.api.program_logs import LogLine, LogLines

if TYPE_CHECKING:
    import pandas as pd

PAGE_LINES = 1000

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LogMethods(Requests):
    """The part of the client that is about log lines of programs."""

    def log_lines(
        self,
        *,
        service: str | None = None,
        level: Level | None = None,
        run: str | None = None,
        trace: str | None = None,
        since: datetime | None = None,
        max_rows: int = 10_000,
    ) -> "pd.DataFrame":
        """Return log lines of the gateway's host, the newest first.

        Args:
            service: Program, such as ``gateway`` or ``run``; None: all.
            level: Minimum severity; None: all.
            run: ID of a run; None: all lines.
            trace: W3C trace ID; None: all lines.
            since: Only lines from this time; None: as far back as lines are kept.
            max_rows: Maximum number of lines.
        """
        query = {"service": service, "level": level, "run": run, "trace": trace}
        pages = self._pages("/logs", LogLines, **query, since=since, limit=PAGE_LINES)
        lines = (line for page in pages for line in page.lines)
        return frame_of_models(LogLine, islice(lines, max_rows))

    def log_stream(
        self,
        *,
        service: str | None = None,
        level: Level | None = None,
        run: str | None = None,
        trace: str | None = None,
        after: str | None = None,
    ) -> Iterator[tuple[str, LogLine]]:
        """Yield log lines as they come, each with its ID; a broken connection is resumed.

        Args:
            service: Program; None: all.
            level: Minimum severity; None: all.
            run: ID of a run; None: all lines.
            trace: W3C trace ID; None: all lines.
            after: ID of the line after which it begins; None: with what comes from now.

        Raises:
            ApiError: The gateway does not give it, such as after the key was revoked.
            httpx.TransportError: For a minute it could not be reached, or sent nothing.
        """
        query = {"service": service, "level": level, "run": run, "trace": trace}
        for sent in self._transport.follow("/logs/stream", query, last=after):
            if sent.data:
                yield sent.id or "", LogLine.model_validate_json(sent.data)
