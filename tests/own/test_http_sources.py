"""Documents over HTTP: pages of every kind, keys from the environment, and what is refused."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration_project import (
    Daily,
    client_credentials,
    cursor,
    http_source,
    link_header,
    next_url,
    offsets,
    pages,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.errors import ConfigurationError, SourceError, UnavailableError
from orchestration_project.resources.own import OwnFileSource, OwnHttpSource
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.own.declared import dataset, rows

NAMES = ["A", "B", "C", "D", "E"]
DAY = Partition(datetime(2026, 1, 5, tzinfo=UTC).date())


class Noon(Clock):
    """A clock that stands at noon of the sixth."""

    def now(self):
        return datetime(2026, 1, 6, 12, tzinfo=UTC)


@pytest.fixture
def extract(tmp_path):
    """Return what fetches a day from a handler, and the requests that came."""

    def run_and_check_captures(handler, path="/{partition}", is_repeated=False, **declared):
        with FaultyServer(handler) as server:
            options: dict[str, Any] = {"format": "json", **declared}
            source = http_source(server.url + path, **options)
            made = dataset(source=source)
            with make_client(tmp_path, "own", use_environment=False) as http:
                captures = Captures(FolderStore(tmp_path / "artifacts"))
                opened = OwnHttpSource(made, captures, Noon(), source, http)
                kept = []
                found = opened.extract(DAY, kept)
                if is_repeated:
                    assert opened.extract(DAY, []).version == found.version
            assert list(found.captures) == [url for url in kept if url in found.captures]
            names = [
                row["name"] for row in rows(made, *(capture.body for capture in found.captures))
            ]
            return names, found, server.requests

    return run_and_check_captures


def page_of(start, count, **more):
    found = [{"name": name} for name in NAMES[start : start + count]]
    return Reply(body=json.dumps({"items": found, **more}).encode())


def parameter(request, name):
    query = request.target.partition("?")[2]
    return dict(part.split("=") for part in query.split("&") if part).get(name, "")


def test_pages_by_number_end_with_one_that_is_not_full(extract):
    def answer(request):
        return page_of(2 * (int(parameter(request, "page")) - 1), 2)

    names, found, requests = extract(answer, records="items", paging=pages(size=2))
    assert (names, len(found.captures)) == (NAMES, 3)
    assert [request.target for request in requests] == [
        f"/2026-01-05?page={n}" for n in (1, 2, 3, 4)
    ]


def test_pages_by_offset_begin_at_zero(extract):
    def answer(request):
        return page_of(int(parameter(request, "offset")), 3)

    names, _, requests = extract(answer, records="items", paging=offsets(size=3))
    assert names == NAMES
    assert [parameter(request, "offset") for request in requests] == ["0", "3", "6"]


def test_pages_that_are_smaller_than_declared_are_no_end(extract):
    def capped(request):
        return page_of(2 * (int(parameter(request, "page")) - 1), 2)

    with pytest.raises(SourceError, match="not the last one") as raised:
        extract(capped, records="items", paging=pages(size=4))
    assert raised.value.found == "2 records on the next page"


@pytest.mark.parametrize("beyond", ["missing", "blank", "the last one again"])
def test_a_page_beyond_the_last_one_may_be_missing_blank_or_repeated(extract, beyond):
    def answer(request):
        number = int(parameter(request, "page"))
        ends = {"missing": Reply(404), "blank": Reply(), "the last one again": page_of(4, 2)}
        return page_of(2 * (number - 1), 2) if number < 4 else ends[beyond]

    names, found, _ = extract(answer, records="items", paging=pages(size=2))
    assert (names, len(found.captures)) == (NAMES, 3)


def test_pages_by_cursor_keep_the_query(extract):
    def answer(request):
        start = int(parameter(request, "after") or "0")
        more = {"next": str(start + 2)} if start + 2 < len(NAMES) else {"next": None}
        return page_of(start, 2, meta=more)

    names, _, requests = extract(
        answer,
        records="items",
        query={"day": "{partition:%d.%m.%Y}"},
        paging=cursor("after", path="meta.next"),
    )
    assert names == NAMES
    assert [request.target for request in requests] == [
        "/2026-01-05?day=05.01.2026",
        "/2026-01-05?day=05.01.2026&after=2",
        "/2026-01-05?day=05.01.2026&after=4",
    ]


def test_pages_by_address_and_by_link_header_are_followed(extract):
    def by_address(request):
        start = int(parameter(request, "from") or 0)
        following = f"/2026-01-05?from={start + 3}" if start + 3 < len(NAMES) else ""
        return page_of(start, 3, links={"next": following})

    def by_header(request):
        start = int(parameter(request, "from") or 0)
        reply = page_of(start, 3)
        link = f'</x?from={start + 3}>; rel="next", </x>; rel="first"'
        return Reply(headers={"Link": link} if start + 3 < len(NAMES) else {}, body=reply.body)

    assert extract(by_address, records="items", paging=next_url("links.next"))[0] == NAMES
    assert extract(by_header, records="items", paging=link_header())[0] == NAMES


def test_the_last_page_may_lack_what_names_a_next_one(extract):
    def by_cursor(request):
        start = int(parameter(request, "after") or "0")
        more = {"meta": {"next": start + 2}} if start + 2 < len(NAMES) else {}
        return page_of(start, 2, **more)

    def by_address(request):
        start = int(parameter(request, "from") or "0")
        more = {"@odata.nextLink": f"?from={start + 3}"} if start + 3 < len(NAMES) else {}
        return page_of(start, 3, **more)

    by_path = cursor("after", path="meta.next", optional=True)
    by_name = next_url("@odata.nextLink", optional=True)
    assert extract(by_cursor, records="items", paging=by_path)[0] == NAMES
    assert extract(by_address, records="items", paging=by_name)[0] == NAMES


REFUSED = {
    "a missing page after a full one": (
        lambda request: page_of(0, 2) if request.target.endswith("page=1") else Reply(404),
        pages(size=2),
        "each page that the one before leads to",
    ),
    "a missing page that an answer named": (
        lambda request: Reply(404) if "from" in request.target else page_of(0, 2, next="?from=2"),
        next_url("next"),
        "each page that the one before leads to",
    ),
    "a next page that is an object": (
        lambda _: page_of(0, 2, next={"page": 2}),
        cursor("after", path="next"),
        "a text, a number or null at next",
    ),
    "a page that is named again": (
        lambda _: page_of(0, 2, next="/2026-01-05"),
        next_url("next"),
        "another page, or none",
    ),
    "a full page that the next number has again": (
        lambda _: page_of(0, 2),
        pages(size=2),
        "another page, or none",
    ),
    "a page of another host": (
        lambda _: page_of(0, 2, next="http://elsewhere.example/2"),
        next_url("next"),
        "a page of 127.0.0.1",
    ),
    "more pages than expected": (
        lambda request: page_of(0, 2, next=f"{request.target}1"),
        next_url("next", most=3),
        "at most 3",
    ),
    "an answer without the cursor": (
        lambda _: page_of(0, 2),
        cursor("after", path="meta.next"),
        "the next page at meta.next",
    ),
    "a redirect": (lambda _: Reply(302, {"Location": "/elsewhere"}), None, "HTTP 200"),
    "a refusal": (lambda _: Reply(403, body=b"no key"), None, "HTTP 200"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_fails(extract, case):
    answer, paging, expected = REFUSED[case]
    with pytest.raises(SourceError) as raised:
        extract(answer, records="items", paging=paging)
    assert raised.value.expected == expected


def test_a_day_that_the_source_lacks_is_not_published(extract):
    with pytest.raises(UnavailableError, match="has nothing for 2026-01-05"):
        extract(lambda _: Reply(404))
    with pytest.raises(UnavailableError, match="has nothing for 2026-01-05"):
        extract(lambda _: Reply(body=b"[]"))


def test_keys_come_from_the_environment_and_are_written_nowhere(extract, monkeypatch):
    monkeypatch.setenv("SAMPLE_KEY", "hunter2hunter2")
    monkeypatch.setenv("SAMPLE_USER", "alice")
    keys = {"secret_headers": {"X-Key": "SAMPLE_KEY"}, "secret_query": {"token": "SAMPLE_KEY"}}
    _, found, requests = extract(lambda _: Reply(body=b'[{"name": "A"}]'), **keys)
    assert requests[0].headers["x-key"] == "hunter2hunter2"
    assert parameter(requests[0], "token") == "hunter2hunter2"
    assert "hunter2" not in str([capture.capture_row for capture in found.captures])
    _, _, requests = extract(lambda _: Reply(body=b'[{"name": "A"}]'), bearer="SAMPLE_KEY")
    assert requests[0].headers["authorization"] == "Bearer hunter2hunter2"
    basic = ("SAMPLE_USER", "SAMPLE_KEY")
    _, _, requests = extract(lambda _: Reply(body=b'[{"name": "A"}]'), basic=basic)
    assert requests[0].headers["authorization"] == "Basic YWxpY2U6aHVudGVyMmh1bnRlcjI="
    with pytest.raises(ConfigurationError, match="secret UNSET_KEY cannot be read"):
        extract(lambda _: Reply(body=b"[]"), bearer="UNSET_KEY")


def test_a_document_of_several_days_is_fetched_once_and_faults_are_retried(extract):
    replies = [Reply(503), Reply(body=b'[{"name": "A"}]')]
    names, _, requests = extract(lambda _: replies.pop(0), path="/{partition:%Y}", is_repeated=True)
    assert (names, len(requests)) == (["A"], 2)


def test_an_equal_answer_has_an_equal_version_whatever_the_order(extract):
    answers = [
        b'[{"name": "A"}, {"name": "B"}]',
        b'[{"name": "B"}, {"name": "A"}]',
        b'[{"name": "C"}]',
    ]
    versions = [extract(lambda _, body=body: Reply(body=body))[1].version for body in answers]
    assert versions[0] == versions[1] != versions[2]


def test_files_of_a_folder_are_the_partitions_that_are_there(tmp_path):
    from orchestration_project import file_source

    source = file_source("in/{partition:%Y%m%d}.csv", format="csv")
    made = dataset(source=source, partitions=Daily("2026-01-03"))
    captures = Captures(FolderStore(tmp_path / "artifacts"))
    opened = OwnFileSource(made, captures, Noon(), source, tmp_path)
    assert opened.partitions().known == []
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "20260105.csv").write_text("name\nA\n")
    assert opened.partitions().known == [DAY]
    assert opened.extract(DAY, []).captures[0].body == b"name\nA\n"
    with pytest.raises(UnavailableError, match="2026-01-04"):
        opened.extract(Partition(DAY.day.replace(day=4)), [])


CLIENT = "Basic " + b64encode(b"pipelines:hidden").decode()


class Guarded:
    """A source that wants a token of its own token service; the first one is refused later."""

    def __init__(self, *, tokens=("one", "two"), status=200):
        self.tokens = list(tokens)
        self.status = status
        self.valid = ""
        self.issued: list[str] = []

    def __call__(self, request):
        if request.target == "/token":
            if request.headers.get("authorization") != CLIENT:
                return Reply(401, {}, b"{}")
            self.valid = self.tokens.pop(0)
            self.issued.append(request.body.decode())
            return Reply(self.status, {}, json.dumps({"access_token": self.valid}).encode())
        if request.headers.get("authorization") != f"Bearer {self.valid}":
            return Reply(401, {}, b"no")
        return Reply(200, {}, json.dumps([{"name": "A"}]).encode())


def with_token(url, **more):
    return client_credentials(
        f"{url}/token", client_id="OWN_CLIENT", client_secret="OWN_SECRET", **more
    )


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv("OWN_CLIENT", "pipelines")
    monkeypatch.setenv("OWN_SECRET", "hidden")


@pytest.mark.parametrize(("scope", "body"), [("", ""), ("read all", "&scope=read+all")])
def test_a_client_gets_a_token_and_sends_it(client, extract, scope, body):
    guarded = Guarded()
    with FaultyServer(guarded) as tokens:
        names, found, requests = extract(guarded, oauth=with_token(tokens.url, scope=scope))
    assert names == ["A"]
    assert guarded.issued == [f"grant_type=client_credentials{body}"]
    assert [request.headers["authorization"] for request in requests] == ["Bearer one"]
    assert all(
        "hidden" not in str(capture) and "one" not in capture.request for capture in found.captures
    )


def test_a_token_that_is_refused_is_replaced_once(client, extract):
    guarded = Guarded()

    def first_token_expires(request):
        if request.target != "/token" and guarded.valid == "one":
            return Reply(401, {}, b"expired")
        return guarded(request)

    with FaultyServer(guarded) as tokens:
        names, _, requests = extract(first_token_expires, oauth=with_token(tokens.url))
    assert names == ["A"]
    assert [request.headers["authorization"] for request in requests] == [
        "Bearer one",
        "Bearer two",
    ]


def test_a_client_that_is_refused_and_an_answer_without_token_fail(client, extract, monkeypatch):
    with (
        FaultyServer(lambda _: Reply(200, {}, b"<html>")) as tokens,
        pytest.raises(SourceError, match="answered without a token"),
    ):
        extract(Guarded(), oauth=with_token(tokens.url))
    monkeypatch.setenv("OWN_SECRET", "wrong")
    with (
        FaultyServer(Guarded()) as tokens,
        pytest.raises(ConfigurationError, match="refuses the client") as raised,
    ):
        extract(Guarded(), oauth=with_token(tokens.url))
    assert raised.value.remedy == "check OWN_CLIENT and OWN_SECRET"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"bearer": "OWN_TOKEN"}, "invalid access"),
        ({"token_url": "ftp://a"}, "invalid token_url"),
        ({"client_secret": "very-secret"}, "invalid name of a secret"),
    ],
)
def test_a_wrong_client_is_refused_without_its_secret(more, message):
    given = {"client_id": "OWN_CLIENT", "client_secret": "OWN_SECRET", "token_url": "https://a"}
    bearer = more.pop("bearer", "")
    with pytest.raises(ConfigurationError, match=message) as raised:
        http_source(
            "https://a/{partition}",
            format="json",
            bearer=bearer,
            oauth=client_credentials(**{**given, **more}),
        )
    assert "very-secret" not in str(raised.value)
