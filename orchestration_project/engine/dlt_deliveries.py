"""Deliveries of a dlt resource: read from its source and captured, or made of what was captured.

Answers over HTTP are captured before dlt parses them. The rows of a table are then made of captures
alone: the resource runs again, and its requests are answered by them. So paging, parent
resources and functions of the project are those of the first run, and a corrected function is
applied by a replay. Rows of other resources are captured as NDJSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestration_project.engine.captures import Capture, Captures, build_parts
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.dlt_private import (
    Sessions,
    build_missing_error,
    read_items,
)
from orchestration_project.engine.contracts.delimited import Parsed
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.dlt_states import STATE, StartState
from orchestration_project.engine.own.contracts import Progress, compute_version, parse_delivery
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.dlt_source import DltSource, build_arguments, iterate_lines
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.engine.source import Extraction
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    SourceError,
    TransientError,
    UnavailableError,
)
from orchestration_project.redaction import MASK, Secrets

if TYPE_CHECKING:
    from orchestration_project.engine.http import HttpClient

MISSING = (404, 410)
"""Statuses of a partition that the source does not have."""

FAULTS = (429, 500, 502, 503, 504)
"""Statuses that may pass."""

FAULTY_CONNECTIONS = (
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
    "sqlalchemy.exc.OperationalError",
    "sqlalchemy.exc.TimeoutError",
)
"""Errors of libraries that may pass; they are named, as not all of them are installed."""


@dataclass(frozen=True)
class DltReader:
    """Reads partitions of a dlt resource from its source.

    Attributes:
        http: Sends the requests of dlt's client.
        secrets: Values of the secrets, by the argument.
        start_of: Returns the state that a partition starts from.
    """

    dataset: Dataset
    source: DltSource
    http: "HttpClient"
    captures: Captures
    clock: Clock
    secrets: Callable[[], Mapping[str, str]]
    start_of: Callable[[Partition], StartState]

    def extract(self, partition: Partition, kept: list[Capture]) -> Extraction:
        """Read a partition, and append what was fetched to ``kept``.

        Raises:
            UnavailableError: The source has no rows of it.
            SourceError: It cannot be read, or its captures do not make the same rows.
            TransientError: The source did not answer in full.
        """
        from orchestration_project.engine.connections.dlt_answers import LiveExchanges

        source = self.source
        start = self.start_of(partition) if source.is_incremental else StartState()
        values, hidden = self.secrets(), Secrets()
        hidden.hide(*values.values())
        state = deepcopy(dict(start.state))
        captures: list[Capture] = []

        def record(question: Any, answer: Any) -> None:
            request = {"method": question.method, "partition": partition.label}
            if question.body_sha256:
                request["body_sha256"] = question.body_sha256
            capture = self.captures.keep(
                answer.body,
                url=question.url,
                request=request,
                response_headers=dict(answer.headers),
                http_status=answer.status,
                fetched_at=self.clock.now(),
            )
            captures.append(capture)
            kept.append(capture)

        exchanges = LiveExchanges(
            self.http, record if source.captures_answers else _record_nothing, hidden
        )
        lines = _extract_lines(source, partition, values, state, exchanges, lambda: 0)[0]
        if not source.captures_answers:
            captures.append(self._rows_capture(partition, lines))
            kept.append(captures[-1])
        _require_captures(source, captures)
        _require_declared_state(source, state)
        if source.is_incremental:
            entries = {"number": start.number, "before": start.state, "after": state}
            captures[-1] = kept[-1] = _add_state(captures[-1], entries, hidden)
        self._require_same_rows(partition, captures, lines)
        return Extraction(captures, self._version(partition, lines))

    def _rows_capture(self, partition: Partition, lines: Sequence[str]) -> Capture:
        return self.captures.keep(
            "".join(f"{line}\n" for line in lines).encode(),
            url=f"dlt:{self.source.resource or self.dataset.name}",
            request={"partition": partition.label, "resource": self.source.resource},
            row_count=len(lines),
            fetched_at=self.clock.now(),
        )

    def _require_same_rows(
        self, partition: Partition, own: Sequence[Capture], lines: Sequence[str]
    ) -> None:
        """Make sure that a replay of the captures makes the rows that were just read."""
        if not self.source.captures_answers:
            return
        parts = record_parts(self.dataset, build_parts(own), partition)
        again = [line for part in parts for line in part.body.decode().splitlines()]
        if sorted(again) != sorted(lines):
            raise SourceError(
                "the resource makes other rows of its captured answers than it did at first",
                expected=f"the same {len(lines)} rows",
                found=f"{len(again)} rows, {len(set(lines) - set(again))} of them others",
                remedy="let the rows depend on the answers and the partition alone; if they "
                "cannot, declare capture='rows'",
            )

    def _version(self, partition: Partition, lines: Sequence[str]) -> str:
        """Return the state of the partition as a hash of its records.

        Raises:
            UnavailableError: It has none.
        """
        version = compute_version(self.dataset, ["\n".join(lines).encode()], partition)
        if version is not None:
            return version
        raise UnavailableError(
            f"the source of {self.dataset.name} has nothing for {partition.label}",
            expected=f"records of {partition.label}",
            found=f"{len(lines)} rows of the resource, none of {partition.label}",
            remedy="wait for its publication, or request another partition",
        )


def _record_nothing(question: Any, answer: Any) -> None:
    """Rows are captured in place of answers."""


def _add_state(capture: Capture, found: Mapping[str, Any], hidden: Secrets) -> Capture:
    text = hidden.redacted(json.dumps(found, default=_encode_value))
    return replace(capture, request={**capture.request, STATE: json.loads(text)})


def _encode_value(value: Any) -> str:
    """Return a value of a state as dlt stores it in JSON."""
    from dlt.common.json import custom_encode

    return str(custom_encode(value))


def _require_captures(source: DltSource, own: Sequence[Capture]) -> None:
    if not own:
        raise ConfigurationError(
            "the resource sent no request through dlt's client, so nothing was captured",
            expected="requests by RESTClient, or by dlt.sources.helpers.requests",
            found="none",
            remedy="declare capture='rows', which captures the rows that the resource yields",
            resource=source.resource,
        )


def _require_declared_state(source: DltSource, state: Mapping[str, Any]) -> None:
    """Make sure that a resource has a state if it is incremental, and none otherwise."""
    if bool(state) != source.is_incremental:
        says = "incremental=True" if source.is_incremental else "no incremental=True"
        raise ConfigurationError(
            "the declaration does not say how partitions follow",
            expected=f"{'a state' if source.is_incremental else 'no state'} of dlt, as "
            f"dlt_source has {says}",
            found=f"a state of {', '.join(state)}" if state else "no state",
            remedy="declare incremental=True; or bound the rows by the day, as by "
            "incremental(initial_value=…, end_value=…)",
            resource=source.resource,
        )


def record_parts(dataset: Dataset, parts: Sequence[Part], partition: Partition) -> Sequence[Part]:
    """Return captured parts as parts of records; those of a dlt resource are lines of NDJSON.

    A record belongs to the answer that was read last before it came.

    Raises:
        SourceError: The resource requests another answer, or fails.
    """
    source = dataset.source
    if not isinstance(source, DltSource) or not source.captures_answers:
        return parts
    try:
        from orchestration_project.engine.connections.dlt_answers import RecordedExchanges
    except ModuleNotFoundError as error:
        raise build_missing_error() from error
    exchanges = RecordedExchanges(parts, Secrets())
    values = dict.fromkeys(source.secrets, MASK)
    start = next((part.request[STATE] for part in parts if STATE in part.request), None)
    state = deepcopy(dict(start["before"])) if isinstance(start, Mapping) else {}
    lines, numbers = _extract_lines(
        source, partition, values, state, exchanges, lambda: exchanges.part_number
    )
    by_part: dict[int, list[str]] = {}
    for line, number in zip(lines, numbers, strict=True):
        by_part.setdefault(number, []).append(line)
    return [Part(number, "\n".join(names).encode()) for number, names in sorted(by_part.items())]


def parse_recorded(dataset: Dataset, parts: Sequence[Part], partition: Partition) -> Parsed:
    """Return the records of a partition of captured parts, as `parse_delivery`."""
    records = record_parts(dataset, parts, partition)
    return parse_delivery(dataset, records, partition, find_progress(dataset, parts))


def find_progress(dataset: Dataset, parts: Sequence[Part]) -> Progress | None:
    """Return the progress of an incremental HTTP source before a delivery; None: it has none."""
    source = dataset.source
    state = next((part.request[STATE] for part in parts if STATE in part.request), None)
    if not isinstance(source, HttpSource) or not isinstance(state, Mapping):
        return None
    return build_progress(source, state["before"])


def build_progress(source: HttpSource, state: Mapping[str, Any]) -> Progress:
    """Return the progress that a state has, or that of the first load."""
    initial = source.incremental.initial if source.incremental else ""
    return Progress(**state) if state else Progress(initial)


def _extract_lines(
    source: DltSource,
    partition: Partition,
    secrets: Mapping[str, str],
    state: dict[str, Any],
    sessions: Sessions,
    part_number: Callable[[], int],
) -> tuple[list[str], list[int]]:
    """Return the rows of a resource as JSON, and the number of the part that each came after.

    Raises:
        OrchestrationError: The resource fails; the error says whether that may pass.
    """
    lines: list[str] = []
    numbers: list[int] = []
    arguments = build_arguments(source, partition.day, secrets)
    try:
        with closing(
            read_items(source.make, arguments, source.resource, state=state, sessions=sessions)
        ) as items:
            for name, item in items:
                names = list(iterate_lines(item, name))
                lines += names
                numbers += [part_number()] * len(names)
    except Exception as error:
        raise _convert_error(error, source, len(lines)) from error
    return lines, numbers


def _convert_error(error: Exception, source: DltSource, row_count: int) -> OrchestrationError:
    """Return the error of a resource that failed, of the category that its cause has."""
    causes = _list_causes(error)
    for cause in causes:
        if isinstance(cause, OrchestrationError):
            return cause
    if any(isinstance(cause, ModuleNotFoundError) and cause.name == "dlt" for cause in causes):
        return build_missing_error()
    status = next(
        (
            answer.status_code
            for cause in causes
            if (answer := getattr(cause, "response", None)) is not None
        ),
        None,
    )
    last = causes[-1] if status is None else next(c for c in causes if hasattr(c, "response"))
    values: dict[str, Any] = {
        "expected": "all rows of the partition",
        "found": f"{type(last).__name__} after {row_count} rows: {str(last)[:500]}",
        "remedy": "see the answers among the captures; correct the resource, or load the "
        "partition again later",
    }
    what = f"the resource {source.resource or 'of dlt_source'} failed"
    if status in MISSING and not row_count:
        return UnavailableError(what, **values)
    if any(type(cause).__name__ == "ConfigFieldMissingException" for cause in causes):
        return ConfigurationError(what, **values)
    passes = status in FAULTS or any(map(_may_pass, causes))
    return TransientError(what, **values) if passes else SourceError(what, **values)


def _may_pass(error: BaseException) -> bool:
    names = {f"{model.__module__}.{model.__name__}" for model in type(error).__mro__}
    return isinstance(error, ConnectionError | TimeoutError) or not names.isdisjoint(
        FAULTY_CONNECTIONS
    )


def _list_causes(error: BaseException) -> list[BaseException]:
    """Return an error and what caused it, the first cause last."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return causes
