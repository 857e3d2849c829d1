"""Uploads to inboxes: names are data, limits hold, nothing half stored is named."""

import hashlib
import http.client
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import select, text

from orchestration_project.client import ApiError, Client
from orchestration_project.client import data as client_data
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.packs import Blob
from orchestration_project.gateway.limits import HourlyQuota
from orchestration_project.services.inbox.uploads import NewFile, UploadRefusals
from orchestration_project.tables.spine import blobs, captures, uploads, work_items
from tests.gateway.api.conftest import HOME
from tests.gateway.api.test_attention import Browser
from tests.gateway.login_client import running

INBOXES = """
inboxes:
  {name}: {{max_mib: 1, quota_mib: 2, files_per_hour: 50}}
  {name}_pdf: {{content_types: [application/pdf]}}
  {name}_large: {{max_mib: 100}}
  {name}_few: {{files_per_hour: 1}}
"""

MIB = 2**20


@pytest.fixture
def inbox(api, tmp_path, monkeypatch, request) -> str:
    """The name of an inbox of the test's own."""
    name = "i" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    file = tmp_path / "inboxes.yaml"
    file.write_text(INBOXES.format(name=name))
    monkeypatch.setitem(vars(api.services.settings), "inboxes_file", file)
    return name


def put(
    api,
    inbox,
    content: bytes | AsyncIterator[bytes] = b"bytes",
    name="a.pdf",
    role="operator",
    **headers,
):
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    path = f"/inbox/{inbox}/files/{quote(name, safe='')}"
    return api.ask("PUT", path, role, content=content, headers=given)


def stored(api, inbox, *columns) -> list[tuple]:
    with api.services.warehouse.reading() as connection:
        wanted = select(*(uploads.c[name] for name in columns or ("file_name",)))
        return sorted(map(tuple, connection.execute(wanted.where(uploads.c.inbox == inbox))))


@pytest.fixture
def left_over(api) -> Callable[[], set[Path]]:
    """Return the files that are left of the uploads of a test."""
    folder = api.services.settings.state_path / "uploads"
    before = set(folder.glob("*"))
    return lambda: set(folder.glob("*")) - before


def test_a_file_is_a_blob_a_row_and_a_work_item_and_its_name_is_audited(api, inbox):
    answer = put(api, inbox, b"one", content_type="text/plain; charset=x")
    assert answer.status_code == 202
    found = answer.json()
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert (found["sha256"], found["byte_count"], found["is_new"]) == (sha256, 3, True)
    columns = ("upload_id", "file_name", "content_type", "sha256", "user_name")
    row = (found["upload_id"], "a.pdf", "text/plain", sha256, "the operator")
    assert stored(api, inbox, *columns) == [row]
    with api.services.warehouse.reading() as connection:
        item = connection.execute(
            select(work_items).where(work_items.c.topic == f"uploads/{inbox}")
        ).one()
        blob = connection.execute(select(blobs).where(blobs.c.sha256 == sha256)).one()
        capture = connection.execute(select(captures).where(captures.c.sha256 == sha256)).one()
    assert (item.item_key, item.input_sha256, item.state) == (row[0], sha256, "ready")
    assert (capture.source, capture.dataset) == ("uploads", inbox)
    place = Blob(*(blob._mapping[name] for name in Blob._fields))
    assert Captures(api.services.store).read(place) == b"one"
    assert api.audited() == ("PUT /inbox/files", "done", "the operator")


def test_the_same_file_again_changes_nothing_and_another_name_is_another_file(api, inbox):
    first = put(api, inbox).json()
    assert put(api, inbox).json() == {**first, "is_new": False}
    assert put(api, inbox, name="b.pdf").json()["is_new"]
    assert stored(api, inbox) == [("a.pdf",), ("b.pdf",)]


NAMES = ["..x", "~root", "CON", "e\u0301.pdf", "é.pdf", "%2e%2e", "x" * 1000]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_data_and_stays_as_it_is(api, inbox, name):
    assert put(api, inbox, name=name).status_code == 202
    assert stored(api, inbox) == [(name,)]


HOSTILE = [
    "../../x",
    "\u202egpj.exe",
    "/etc/passwd",
    "a\\b",
    ".",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    " ",
    "x" * 1001,
]


@pytest.mark.parametrize("name", [*HOSTILE, "x" * 10_000])
def test_a_hostile_name_is_refused_and_nothing_is_stored(api, inbox, name):
    assert put(api, inbox, name=name).status_code in (400, 404, 422)
    assert stored(api, inbox) == []


def test_half_a_character_is_refused_or_replaced(api, inbox):
    path = f"/inbox/{inbox}/files/a%ED%A0%80b"
    assert api.ask("PUT", path, content=b"x").status_code in (202, 422)
    assert all("\ud800" not in name for (name,) in stored(api, inbox))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"role": "viewer"}, 403),
        ({"role": ""}, 401),
        ({"content": b"x" * (MIB + 1)}, 413),
        ({"content": b"x" * (MIB + 1), "content_length": "5"}, 413),
        ({"content_range": "bytes 0-4/5000000"}, 413),
        ({"content_range": "bytes 4-0/5"}, 400),
        ({"content_range": "pages 0-4/5"}, 400),
        ({"content_range": "bytes 3-7/10"}, 416),
        ({"content": b"longer", "content_range": "bytes 0-2/5"}, 400),
    ],
)
def test_what_may_not_come_is_refused_and_nothing_is_stored(api, inbox, given, status):
    answer = put(api, inbox, **given)
    assert answer.status_code == status, answer.text
    assert stored(api, inbox) == []


def test_an_inbox_that_is_not_declared_is_not_found(api, inbox):
    assert put(api, "unknown").status_code == 404


def test_only_declared_media_types_are_accepted(api, inbox):
    assert put(api, f"{inbox}_pdf", content_type="text/html").status_code == 415
    assert put(api, f"{inbox}_pdf", content_type="Application/PDF").status_code == 202


def test_the_quota_of_an_inbox_holds(api, inbox):
    for number in range(2):
        assert put(api, inbox, bytes([number]) * MIB, name=str(number)).status_code == 202
    answer = put(api, inbox, b"1")
    assert answer.status_code == 507
    assert answer.json()["expected"] == "at most 2 MiB of files (quota_mib)"
    assert put(api, inbox, bytes([1]) * MIB, name="1").status_code == 507
    assert len(stored(api, inbox)) == 2


async def chunked(content: bytes):
    """Yield a body whose length is not known before its end."""
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


def needing_a_person(api, inbox) -> dict[str, dict]:
    """Return the entries of refused files of a test by name and status."""
    entries = api.get("/attention?kind=refused_upload", "operator")["entries"]
    own = [entry for entry in entries if entry["title"].startswith(inbox)]
    return {f"{entry['title'].split(': ')[1]} {entry['category']}": entry for entry in own}


def test_a_refused_file_needs_a_person_until_its_sender_uploads_it(api, inbox):
    for _ in range(2):
        assert put(api, inbox, b"x" * (MIB + 1), "large.csv").status_code == 413
    [(name, entry)] = needing_a_person(api, inbox).items()
    assert (name, entry["count"], entry["domain"]) == ("large.csv 413", 2, "events")
    assert entry["since"] < entry["latest_at"]
    assert entry["expectations"] == [
        {
            "name": "status 413",
            "expected": "at most 1 MiB (max_mib)",
            "found": "the file is too large; of 1048577 bytes, by the operator",
        }
    ]
    assert entry["actions"] == ["ignore"]
    put(api, inbox, b"small", "other.csv")
    put(api, f"{inbox}_large", b"small", "large.csv")
    assert list(needing_a_person(api, inbox)) == ["large.csv 413"]
    assert put(api, inbox, b"small", "large.csv").status_code == 202
    assert needing_a_person(api, inbox) == {}


def test_the_page_shows_a_refused_file_and_its_name_is_data(api, inbox):
    put(api, inbox, b"x" * (MIB + 1), "<b>.csv")
    [entry] = needing_a_person(api, inbox).values()
    operator = Browser(api, "operator")
    for path in ("/attention?kind=refused_upload", f"/attention/{entry['entry_id']}"):
        page = operator.get(path)
        assert page.status_code == 200
        assert f"{inbox}: &lt;b&gt;.csv" in page.text
        assert "<b>.csv" not in page.text
    assert "at most 1 MiB (max_mib)" in page.text
    assert "Ignore until" in page.text
    assert "Retry" not in page.text.partition("<h2>Facts</h2>")[0].partition("<h2>Actions</h2>")[2]


def test_a_refused_file_is_ignored_until_a_time(api, inbox):
    put(api, f"{inbox}_pdf", name="a.txt", content_type="text/plain")
    [entry] = needing_a_person(api, inbox).values()
    until = (Clock().now() + timedelta(hours=1)).isoformat()
    answer = {"action": "ignore", "reason": "sent again by post", "until": until}
    api.post(f"/attention/{entry['entry_id']}/actions", answer)
    assert needing_a_person(api, inbox) == {}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"content": chunked(b"x" * (MIB + 1))}, ["a.pdf 413"]),
        ({"content_range": "bytes 0-4/5000000"}, ["a.pdf 413"]),
        ({"content_range": "bytes 3-7/10"}, []),
        ({"content_range": "pages 0-4/5"}, []),
        ({"content": b"longer", "content_range": "bytes 0-2/5"}, []),
        ({"role": "viewer"}, []),
        ({"name": "a\nb"}, []),
    ],
)
def test_a_file_that_is_refused_is_recorded_but_no_request_to_correct(api, inbox, given, expected):
    put(api, inbox, **given)
    assert list(needing_a_person(api, inbox)) == expected


def test_files_over_a_limit_of_the_inbox_or_host_are_recorded(api, inbox, monkeypatch):
    for number in range(2):
        put(api, inbox, bytes([number]) * MIB, name=str(number))
    put(api, inbox, b"1", "full")
    for name in ("first", "many"):
        put(api, f"{inbox}_few", b"1", name)
    monkeypatch.setitem(vars(api.services.settings), "disk_headroom_mib", 10**9)
    put(api, inbox, b"1", "disk")
    assert sorted(needing_a_person(api, inbox)) == ["disk 503", "full 507", "many 429"]


def test_a_user_has_the_latest_refusals_alone(api, inbox):
    refusals = UploadRefusals(api.services.warehouse, Clock(), max_per_user=3)
    for number in range(5):
        new = NewFile(f"{inbox}_pdf", f"{number}", "text/plain", "the operator")
        refusals.record(new, 415, "not a type of the inbox", "application/pdf", 1)
    assert sorted(needing_a_person(api, inbox)) == ["2 415", "3 415", "4 415"]


def test_the_answer_of_a_refusal_is_the_same_if_it_cannot_be_recorded(api, inbox, monkeypatch):
    with api.services.warehouse.writing() as connection:
        connection.execute(text("ALTER TABLE upload_refusals RENAME TO away"))
    try:
        assert put(api, inbox, b"x" * (MIB + 1)).status_code == 413
    finally:
        with api.services.warehouse.writing() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO upload_refusals"))


@pytest.fixture
def artifact_bytes(api) -> Callable[[], int]:
    """Return the bytes that a test has added to the artifact store."""

    def total() -> int:
        return sum(stored_file.byte_count for stored_file in api.services.store.listed())

    before = total()
    return lambda: total() - before


def noise(name: str, size: int) -> bytes:
    """Return bytes that cannot be compressed."""
    return hashlib.shake_256(name.encode()).digest(size)


WAYS = ["whole", "without a length", "pieces", "first pieces"]


def upload(api, inbox: str, way: str, name: str, content: bytes) -> int:
    """Upload a file in a way, and return the status of the last answer."""
    total, half = len(content), len(content) // 2
    if way == "whole":
        return put(api, inbox, content, name).status_code
    if way == "without a length":
        return put(api, inbox, chunked(content), name).status_code
    first = put(api, inbox, content[:half], name, content_range=f"bytes 0-{half - 1}/{total}")
    if way == "first pieces" or first.status_code != 308:
        return first.status_code
    rest = f"bytes {half}-{total - 1}/{total}"
    return put(api, inbox, chunked(content[half:]), name, content_range=rest).status_code


@pytest.mark.slow_after_first
@pytest.mark.parametrize("way", WAYS)
def test_an_inbox_is_filled_to_its_quota_and_what_is_refused_leaves_nothing(
    api, inbox, left_over, artifact_bytes, way
):
    size = 900_000
    statuses = [upload(api, inbox, way, str(n), noise(str(n), size)) for n in range(8)]
    expected = [308] * 3 if way == "first pieces" else [202] * 2
    assert statuses == expected + [507] * (8 - len(expected))
    unfinished = sum(path.stat().st_size for path in left_over())
    assert (len(left_over()), unfinished) == (
        (3, 3 * size // 2) if way == "first pieces" else (0, 0)
    )
    assert len(stored(api, inbox)) == (0 if way == "first pieces" else 2)
    assert artifact_bytes() <= len(stored(api, inbox)) * (size + 2_000)
    for path in left_over():
        path.unlink()


@pytest.mark.slow_after_first
@pytest.mark.parametrize("way", ["whole", "without a length", "pieces"])
def test_unfinished_pieces_count_for_every_way(api, inbox, left_over, artifact_bytes, way):
    for name in ("a", "b", "c"):
        assert upload(api, inbox, "first pieces", name, noise(name, 900_000)) == 308
    assert upload(api, inbox, way, "d", noise("d", 900_000)) == 507
    assert (len(left_over()), artifact_bytes()) == (3, 0)
    rest = put(
        api, inbox, noise("a", 900_000)[450_000:], "a", content_range="bytes 450000-899999/900000"
    )
    assert rest.status_code == 202
    for path in left_over():
        path.unlink()


@pytest.mark.slow_after_first
@pytest.mark.parametrize("way", ["whole", "without a length", "pieces"])
def test_parallel_uploads_do_not_exceed_the_quota(api, inbox, left_over, artifact_bytes, way):
    size = 900_000
    with running(api.app) as port, ThreadPoolExecutor(6) as threads:

        def ask(number: int) -> int:
            content, url = noise(str(number), size), f"http://127.0.0.1:{port}/api/v1"
            headers = {"x-api-key": str(api.keys["operator"])}
            if way == "pieces":
                headers["content-range"] = f"bytes 0-{size - 1}/{size}"
            body = (content[i : i + 1000] for i in range(0, size, 1000))
            path = f"{url}/inbox/{inbox}/files/{number}"
            given = content if way == "whole" else body
            return httpx.put(path, content=given, headers=headers, timeout=30).status_code

        statuses = sorted(threads.map(ask, range(6)))
    accepted = statuses.count(202)
    assert statuses == [202] * accepted + [507] * (6 - accepted)
    assert accepted == 2 if way != "without a length" else accepted <= 2
    assert (left_over(), len(stored(api, inbox))) == (set(), accepted)
    assert artifact_bytes() <= accepted * (size + 2_000)


@pytest.mark.parametrize(
    ("content", "content_range", "status"),
    [
        (b"", "bytes */7", 308),
        (b"3456789", "bytes 3-9/10", 416),
        (b"longer", "bytes 0-2/5", 400),
    ],
)
def test_a_request_without_an_accepted_byte_leaves_no_file(
    api, inbox, left_over, content, content_range, status
):
    assert put(api, inbox, content, content_range=content_range).status_code == status
    assert left_over() == set()


@pytest.mark.slow
def test_empty_files_in_pieces_count_for_the_hour(api, inbox, monkeypatch):
    monkeypatch.setitem(vars(api.services), "upload_quota", HourlyQuota())
    ranged = {"content_range": "bytes */0"}
    answers = [put(api, inbox, b"", str(number), **ranged).status_code for number in range(51)]
    assert answers == [202] * 50 + [429]


def test_a_refused_piece_leaves_the_pieces_before_it(api, inbox, left_over):
    assert put(api, inbox, b"0123", content_range="bytes 0-3/10").status_code == 308
    longer = put(api, inbox, b"456789", content_range="bytes 4-5/10")
    assert longer.status_code == 400
    assert [path.read_bytes() for path in left_over()] == [b"0123"]
    assert put(api, inbox, b"456789", content_range="bytes 4-9/10").status_code == 202


@pytest.mark.slow
def test_a_key_uploads_so_many_files_an_hour(api, inbox, monkeypatch):
    monkeypatch.setitem(vars(api.services), "upload_quota", HourlyQuota())
    answers = [put(api, inbox, name=str(number)).status_code for number in range(51)]
    assert answers == [202] * 50 + [429]


def test_nothing_is_accepted_on_a_full_disk(api, inbox, monkeypatch):
    monkeypatch.setitem(vars(api.services.settings), "disk_headroom_mib", 10**9)
    answer = put(api, inbox)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "300")


def test_pieces_go_on_where_the_last_one_ended(api, inbox, left_over):
    content = b"0123456789"
    first = put(api, inbox, content[:4], content_range="bytes 0-3/10")
    assert (first.status_code, first.headers["range"]) == (308, "bytes=0-3")
    gap = put(api, inbox, content[6:], content_range="bytes 6-9/10")
    assert (gap.status_code, gap.headers["range"]) == (416, "bytes=0-3")
    requested = put(api, inbox, b"", content_range="bytes */10")
    assert (requested.status_code, requested.headers["range"]) == (308, "bytes=0-3")
    assert stored(api, inbox) == []
    last = put(api, inbox, content[4:], content_range="bytes 4-9/10")
    assert (last.status_code, last.json()["sha256"]) == (202, hashlib.sha256(content).hexdigest())
    assert left_over() == set()


@pytest.mark.parametrize("pieces", [False, True])
def test_a_connection_that_is_cut_leaves_nothing_that_is_named(api, inbox, left_over, pieces):
    """The body ends before its Content-Length; a piece keeps what came of it."""

    def ask(port, content, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        path = f"/api/v1/inbox/{inbox}/files/cut.bin"
        connection.putrequest("PUT", path)
        given = {"x-api-key": str(api.keys["operator"]), "content-length": "9", **headers}
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        connection.close()

    ranged = {"content-range": "bytes 0-8/9"} if pieces else {}
    with running(api.app) as port:
        ask(port, b"12345", **ranged)
    assert stored(api, inbox) == []
    if pieces:
        rest = put(api, inbox, b"", name="cut.bin", content_range="bytes */9")
        received = rest.headers.get("range")
        assert (rest.status_code, received in (None, "bytes=0-4")) == (308, True)
        start = 0 if received is None else 5
        last = put(api, inbox, b"123456789"[start:], "cut.bin", content_range=f"bytes {start}-8/9")
        assert last.json()["sha256"] == hashlib.sha256(b"123456789").hexdigest()
    assert left_over() == set()


class Cutting(httpx.BaseTransport):
    """A way to the gateway on which each second piece is cut."""

    def __init__(self, api) -> None:
        self.api, self.count = api, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        given = request.headers.get("content-range", "*")
        self.count += "*" not in given
        if self.count % 2 == 0 and "*" not in given:
            raise httpx.WriteError("the connection broke off")
        return self.api.handle_request(request)


def test_the_client_resumes_an_upload_in_pieces(api, inbox, tmp_path, monkeypatch):
    monkeypatch.setattr(client_data, "PIECE_BYTES", 1000)
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(range(256)) * 20)
    way = Cutting(api)
    with Client(HOME, str(api.keys["operator"]), transport=way, sleep=lambda _: None) as client:
        found = client.upload(inbox, file)
        assert (found.byte_count, found.is_new) == (5120, True)
        assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert way.count > 6
        monkeypatch.setattr(client_data, "PIECE_BYTES", MIB)
        assert not client.upload(inbox, file).is_new
        with pytest.raises(ApiError, match="inbox not found"):
            client.upload("nowhere", file)


@pytest.mark.slow
def test_a_file_above_64_mib_is_resumed_with_the_sizes_of_everyday_use(api, inbox, tmp_path):
    file, last = tmp_path / "large.bin", b"the end"
    with file.open("wb") as sparse:
        sparse.seek(65 * MIB)
        sparse.write(last)
    way = Cutting(api)
    with Client(HOME, str(api.keys["operator"]), transport=way, sleep=lambda _: None) as client:
        found = client.upload(f"{inbox}_large", file)
    expected = hashlib.sha256(bytes(65 * MIB) + last).hexdigest()
    assert (found.byte_count, found.sha256) == (65 * MIB + len(last), expected)
    assert way.count > 2
