"""Documents as the faults need them: a source that has each in a state that tests choose.

A state is a letter: A is what comes first, B and C are other texts, D is not complete, so that it
is quarantined. Workers of a pool import this module, and so nothing of Dagster.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ClaimedItem
from tests.faulty_server import Reply, Request

TEXTS = {"A": "as it came", "B": "another text", "C": "a text", "D": "a part of"}

CHUNK_BYTES = 65536

Strike = Callable[[str, int], None]
"""Faults of the process that requests a document, by key and number, before it is answered."""


def document_of(number: int) -> str:
    """Return the key of a piece by its number from 0."""
    return f"D{number:03}"


def number_of(key: str) -> int:
    """Return the number of a piece by its key."""
    return int(key[1:])


def asked_for(request: Request) -> tuple[str, int]:
    """Return which document is requested, and by which process; "" and 0: the list of all."""
    requested = urlsplit(request.target)
    return requested.path[1:], int(parse_qs(requested.query).get("process", ["0"])[0])


def no_strike(_key: str, _process: int) -> None:
    """Let the source answer."""


class DocumentPublisher:
    """Lists the versions of all documents, and answers for each in its present state."""

    def __init__(self, documents: int) -> None:
        self._states = {document_of(number): "A" for number in range(documents)}
        self.strike: Strike = no_strike

    def put(self, number: int, state: str) -> None:
        """Have a document in this state from now on."""
        self._states[document_of(number)] = state

    def __call__(self, request: Request) -> Reply:
        """Answer a request."""
        key, process = asked_for(request)
        if not key:
            return Reply(body=json.dumps(self._states).encode())
        self.strike(key, process)
        document = {"key": key, "text": TEXTS[self._states[key]]}
        return Reply(body=json.dumps(document).encode())


def list_versions(source_url: str) -> Mapping[str, str]:
    """Return the version of each document that the source has."""
    return json.loads(_read(f"{source_url}/"))


def extract_document(source_url: str, artifacts: Path, item: ClaimedItem) -> Capture:
    """Fetch a document, and store its bytes."""
    address = f"{source_url}/{item.key}"
    body = _read(f"{address}?process={os.getpid()}")
    return Captures(FolderStore(artifacts)).keep(
        body, url=address, request={}, http_status=200, row_count=1, fetched_at=Clock().now()
    )


def _read(address: str) -> bytes:
    with urlopen(address) as answer:  # noqa: S310 - of this machine
        return b"".join(iter(lambda: answer.read(CHUNK_BYTES), b""))
