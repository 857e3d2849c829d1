"""PeopleForce's client against the demo, which speaks its wire format."""

import json

import pytest

from orchestration_project.errors import ConfigurationError, MovedError, TransientError
from orchestration_project.resources.saas.answers import SHOWN_BYTES
from orchestration_project.resources.saas.systems import DigestScheme, RefusedError
from tests.faulty_server import FaultyServer, Reply
from tests.saas_demo import peopleforce

COUNT = 120  # three pages
LONG_KEY = "s3cret-but-wrong-key"


@pytest.fixture
def demo(saas_demo):
    saas_demo.start_over(task_count=COUNT)
    return saas_demo


@pytest.fixture
def source(demo, saas_http, tmp_path):
    return peopleforce(demo.url, saas_http, tmp_path)


TITLES = DigestScheme("titles", lambda task: str(task.title))


def all_ids(source, kept=None):
    pages = source.pages(TITLES, kept=[] if kept is None else kept)
    return [entity_id for page in pages for entity_id in page.digests]


def test_all_pages_come_each_task_once_and_every_page_is_captured(demo, source):
    kept = []
    assert sorted(all_ids(source, kept=kept)) == [str(task["id"]) for task in demo.state()["tasks"]]
    assert [capture.request for capture in kept] == [{"page": str(page)} for page in (1, 2, 3)]
    assert {capture.http_status for capture in kept} == {200}


@pytest.mark.parametrize("kind", ["repeat_page", "skip_page"])
def test_a_page_that_repeats_or_skips_is_noticed_after_all_that_came_was_given(demo, source, kind):
    demo.fault(kind, path="/tasks", times=3)  # a first page cannot be repeated
    kept = []
    with pytest.raises(MovedError, match="do not hold all of them"):
        all_ids(source, kept=kept)
    assert len(kept) == 3


def test_a_task_that_comes_while_pages_are_read_repeats_none(demo, source):
    pages = source.pages(TITLES, kept=[])
    first = next(pages)
    demo.do("tasks", title="new")  # the newest is first: the others move by one
    found = [entity_id for page in [first, *pages] for entity_id in page.digests]
    assert len(found) == len(set(found)) == COUNT


def test_tasks_that_go_while_pages_are_read_have_no_other_one_left_out(demo, source):
    pages = source.pages(TITLES, kept=[])
    first = next(pages)
    for task in first.read()[:3]:
        demo.delete(f"tasks/{task.entity_id}")
    found = [entity_id for page in [first, *pages] for entity_id in page.digests]
    assert len(found) == len(set(found)) == COUNT


def test_a_task_that_is_none_holds_no_other_back(demo, source):
    demo.do("tasks", id=1000, title=["no", "text"])
    kept = []
    assert len(all_ids(source, kept=kept)) == COUNT - 1
    [bad] = source.unreadable
    assert (bad.sha256, bad.line_number) == (kept[-1].sha256, 20)  # the last one of three pages
    assert bad.reason == "PeopleForce's task 1000 cannot be read: list ['no', 'text']"
    assert bad.entity_id == "1000"
    assert json.loads(bad.record)["title"] == ["no", "text"]


def test_one_task_is_had_as_it_is_now_and_a_deleted_one_is_none(demo, source):
    assert source.task("1000").is_completed is demo.state()["tasks"][0]["completed"]
    demo.delete("tasks/1000")
    assert source.task("1000") is None


def test_a_task_of_which_a_proxy_says_404_is_not_deleted(saas_http, tmp_path):
    with FaultyServer(lambda _: Reply(404, {}, b"<h1>no such page")) as server:
        client = peopleforce(server.url, saas_http, tmp_path, api_key=LONG_KEY)
        with pytest.raises(RefusedError) as refusal:
            client.task("1000")
    assert refusal.value.http_status == 404


def test_completing_twice_is_completing_once(demo, source):
    number = demo.do("tasks", title="mine")["id"]
    source.complete(str(number))
    source.complete(str(number))
    assert source.task(str(number)).is_completed
    with pytest.raises(RefusedError) as refusal:
        source.complete("77")
    assert refusal.value.http_status == 404


def test_a_completion_whose_answer_is_lost_is_asked_for_again(demo, source):
    number = demo.do("tasks", title="mine")["id"]
    demo.fault("lost", path="/complete")
    source.complete(str(number))
    assert source.task(str(number)).is_completed


@pytest.mark.parametrize("kind", ["html", "cut"])
def test_a_page_that_is_no_json_is_worth_another_try_later(demo, source, kind):
    demo.fault(kind, path="/tasks")
    with pytest.raises(TransientError, match="a response is not JSON"):
        all_ids(source)
    demo.fault(kind, method="PUT")
    with pytest.raises(TransientError, match="a response is not JSON"):
        source.complete("1000")


def test_throttling_is_waited_for_and_too_much_of_it_says_when_to_come_again(demo, source):
    demo.fault("too_many", path="/tasks", seconds=0)
    assert len(all_ids(source)) == COUNT
    demo.fault("too_many", path="/tasks", seconds=300)
    with pytest.raises(TransientError) as throttled:
        all_ids(source)
    assert throttled.value.retry_in_seconds == 300


def test_a_wrong_key_is_reported_without_the_key(demo, saas_http, tmp_path):
    stranger = peopleforce(demo.url, saas_http, tmp_path, api_key=LONG_KEY)
    with pytest.raises(ConfigurationError, match="PEOPLEFORCE_API_KEY") as refusal:
        stranger.task("1000")
    assert LONG_KEY not in str(refusal.value)


def test_the_key_that_a_server_echoes_stays_out_of_the_error(saas_http, tmp_path):
    def echo(request):
        return Reply(403, {}, str(request.headers).encode())

    with FaultyServer(echo) as server, pytest.raises(RefusedError) as refusal:
        peopleforce(server.url, saas_http, tmp_path, api_key=LONG_KEY).task("1")
    assert refusal.value.http_status == 403
    assert LONG_KEY not in str(refusal.value)


def test_a_key_at_the_end_of_what_is_shown_of_an_answer_is_not_shown_by_half(saas_http, tmp_path):
    before = b"-" * (SHOWN_BYTES - len(LONG_KEY) + 1)
    with FaultyServer(lambda _: Reply(403, {}, before + LONG_KEY.encode())) as server:
        client = peopleforce(server.url, saas_http, tmp_path, api_key=LONG_KEY)
        with pytest.raises(RefusedError) as refusal:
            client.task("1")
    assert "---" in str(refusal.value)
    assert LONG_KEY[:-1] not in str(refusal.value)


def test_how_many_tasks_there_are_is_one_request(source):
    assert source.count() == COUNT


class Counting:
    """Digests by title, and how many were made."""

    def __init__(self, name="titles") -> None:
        self.count = 0
        self.digesting = DigestScheme(name, self._digest)

    def _digest(self, task):
        self.count += 1
        return f"digest of {task.title}"


def listed(source, counting):
    """Return the digest of every task, and the titles as the pages themselves have them."""
    pages = list(source.pages(counting.digesting, kept=[]))
    digests = {key: digest for page in pages for key, digest in page.digests.items()}
    return digests, {task.entity_id: task.title for page in pages for task in page.read()}


def test_pages_whose_bytes_are_known_give_the_same_without_being_read(source):
    first, second = Counting(), Counting()
    assert listed(source, first) == listed(source, second)
    assert (first.count, second.count) == (COUNT, 0)


def test_a_page_that_changed_is_read_and_no_other_one(demo, source):
    before, _ = listed(source, Counting())
    demo.do("tasks", id=1000, title="changed")
    counting = Counting()
    digests, titles = listed(source, counting)
    assert counting.count == COUNT % 50  # the oldest are on the last page
    assert digests == {**before, "1000": "digest of changed"}
    assert titles["1000"] == "changed"


def test_pages_are_read_again_once_digests_are_made_otherwise_or_the_file_is_damaged(
    source, tmp_path
):
    before, _ = listed(source, Counting())
    counting = Counting("other rules")
    listed(source, counting)
    assert counting.count == COUNT
    for damage in (b"", b"[]", b'{"name": "titles"', b'{"name": 1, "pages": []}'):
        (tmp_path / "pages.json").write_bytes(damage)
        counting = Counting()
        assert listed(source, counting)[0] == before
        assert counting.count == COUNT


def test_a_record_other_than_a_task_is_reported_each_time(demo, source):
    demo.do("tasks", id=1000, title=["no", "text"])
    for _ in range(2):
        assert len(all_ids(source)) == COUNT - 1
        assert [problem.line_number for problem in source.unreadable] == [20]


def page(number, count):
    said = {"page": number, "pages": 2, "count": count, "items": 1}
    task = {"id": 10 * count + number, "completed": False}
    body = {"data": [task], "metadata": {"pagination": said}}
    return Reply(200, {}, json.dumps(body).encode())


def test_another_page_than_the_one_that_was_asked_for_is_noticed(saas_http, tmp_path):
    with FaultyServer(lambda _: page(1, 2)) as server:
        source = peopleforce(server.url, saas_http, tmp_path)
        with pytest.raises(MovedError, match="another page than the one that was requested"):
            all_ids(source)


def test_tasks_that_go_without_end_end_the_look(saas_http, tmp_path):
    def fewer(request):
        number = int(request.target[-1])
        requested = len(server.requests)
        return page(number, 1_000 - requested) if requested < 50 else Reply(404)

    with FaultyServer(fewer) as server:
        source = peopleforce(server.url, saas_http, tmp_path)
        with pytest.raises(MovedError, match="do not hold all of them"):
            all_ids(source)
