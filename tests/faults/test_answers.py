"""A source that does not answer as it should: nothing is published, and the next load loads.

Of each domain, with small limits. What one says of each such answer in full is in
`tests/resources/test_bad_answers.py` and `test_prices_sources.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.faults.loads import loaded
from tests.faults.pipelines import Source, strikes_on
from tests.faults.places import Place, check_nothing_is_left, check_same_rows, known, published
from tests.faulty_server import FaultyServer, Reply, Request, dripping, dropped, endless

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SMALL = {
    "timeout_seconds": 2,
    "deadline_seconds": 1,
    "max_attempts": 2,
    "max_body_bytes": 200_000,
    "wait_seconds": 0.001,
    "failures": 1000,
}
"""Limits of requests, as none in use has them: a fault is over soon."""

Answer = Callable[[Reply], Reply | Iterable[bytes]]


def cut_off(reply: Reply) -> Iterable[bytes]:
    raw = reply.raw()
    return [raw[: len(raw) - len(reply.body) // 2 - 1]]


def too_long(reply: Reply) -> Iterable[bytes]:
    headers = reply.headers | {"Content-Length": str(len(reply.body) + 100)}
    return [replace(reply, headers=headers).raw()]


ANSWERS: dict[str, Answer] = {
    "answers without end": lambda _: endless(),
    "an answer that drips": lambda reply: dripping(reply.raw(), 0.05),
    "an answer that is cut off": cut_off,
    "an answer of a wrong length": too_long,
    "HTTP 429": lambda _: Reply(429, {"Retry-After": "0"}),
    "HTTP 503": lambda _: Reply(503),
    "a web page with HTTP 200": lambda _: Reply(body=b"<!DOCTYPE html><html>Back soon</html>"),
    "a connection that is reset": lambda _: dropped(),
}


@dataclass
class Spoilt:
    """A source whose every answer is made something else of, once it ``is_ill``."""

    source: Source
    answer: Answer
    is_ill: bool = False

    def __call__(self, request: Request) -> Any:
        """Answer a request."""
        reply = self.source(request)
        return self.answer(reply) if self.is_ill else reply


@pytest.mark.parametrize(("fault", "database", "pipeline"), strikes_on(*ANSWERS))
def test_a_bad_response_publishes_nothing_and_the_next_load_does(
    fault, database, pipeline, server, tmp_path
):
    place = Place.prepared(database, tmp_path / "place", server(database), pipeline)
    alone = Place.prepared(database, tmp_path / "alone", server(database), pipeline)
    source = pipeline.source(1)
    spoilt = Spoilt(source, ANSWERS[fault.name])
    with FaultyServer(spoilt) as ill:
        loaded(place.job(ill.url, 0))
        loaded(alone.job(ill.url, 0))
        before = published(place)
        source.put(0, "B")
        spoilt.is_ill = True
        (outcome,) = loaded(replace(place.job(ill.url, 0), http=SMALL))
        assert published(place) == before
        assert not outcome.startswith((pipeline.restated, pipeline.unchanged)), outcome
        spoilt.is_ill = False
        (ended,) = loaded(place.job(ill.url, 0))
        assert "added" in ended
        loaded(alone.job(ill.url, 0))
    assert published(place) == published(alone)
    check_same_rows(known(place), known(alone))
    check_nothing_is_left(place)
