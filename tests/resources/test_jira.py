"""Jira's client against the demo, which speaks its wire format."""

import json

import pytest

from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    MovedError,
    TransientError,
)
from orchestration_project.resources.saas.jira import MAX_KEYS
from orchestration_project.resources.saas.systems import RefusedError
from tests.faulty_server import FaultyServer, Reply
from tests.saas_demo import document, http_client, jira

SOURCE_ID = "peopleforce/task/1000"


@pytest.fixture
def demo(saas_demo):
    saas_demo.start_over()
    return saas_demo


@pytest.fixture
def target(demo, saas_http):
    return jira(demo.url, saas_http)


def made(target, source_id=SOURCE_ID, **fields):
    return target.create("HR", "Task", {"summary": "Do it", **fields}, source_id)


def test_an_issue_is_made_with_its_source_and_found_by_it(demo, target):
    text = "👋🏽 שלום "
    issue = made(target, description=document(text), labels=["people"])
    (there,) = demo.issues()
    assert there["properties"] == {"orchestration-source": {"id": SOURCE_ID}}
    assert there["fields"]["labels"] == ["people", "peopleforce-task-1000"]
    assert (issue.key, issue.status_category, issue.source_id) == ("HR-1", "new", SOURCE_ID)
    assert issue.description == document(text)
    assert issue.fields["labels"] == ["people"]  # ours is not shown
    assert target.find(SOURCE_ID) == issue
    assert target.find("peopleforce/task/100") is None


def test_a_label_that_somebody_copied_makes_no_source(demo, target):
    other = made(target, "another")
    issue = made(target)
    demo.do(f"issues/{other.key}", fields={"labels": ["peopleforce-task-1000"]})
    assert target.find(SOURCE_ID).key == issue.key


def test_another_s_issue_that_cannot_be_read_keeps_no_task_from_its_own(demo, target):
    other = made(target, "another")
    mark = target.mark("HR")
    third = made(target, "a third")
    issue = made(target)
    for key in (other.key, third.key):
        demo.do(f"issues/{key}", fields={"summary": "a\0b", "labels": ["peopleforce-task-1000"]})
    assert target.find(SOURCE_ID) == issue
    assert target.find_after(mark, SOURCE_ID) == issue


def test_an_issue_of_ours_that_cannot_be_read_is_made_no_second_time(demo, target):
    issue = made(target)
    demo.do(f"issues/{issue.key}", fields={"summary": "a\0b"})
    for poll in (target.find, lambda source_id: target.find_after("HR-0", source_id)):
        with pytest.raises(ContractError, match="cannot be read"):
            poll(SOURCE_ID)


@pytest.mark.parametrize("record", ["7", '{"key": null}', '{"id": "1"}'])
def test_what_is_no_issue_at_all_ends_a_search(tmp_path, record):
    page = Reply(200, {}, f'{{"issues": [{record}]}}'.encode())
    with (
        FaultyServer(lambda _: page) as server,
        http_client(tmp_path) as http,
        pytest.raises(ContractError, match="an issue of Jira cannot be read"),
    ):
        list(jira(server.url, http).search("project = HR"))


def test_of_two_issues_of_one_source_the_oldest_is_found(target):
    first = made(target)
    made(target)
    assert target.find(SOURCE_ID).key == first.key


@pytest.mark.parametrize("kind", ["lost", "cut", "html", "unavailable"])
def test_a_create_without_an_answer_is_not_repeated_and_can_be_looked_for(demo, target, kind):
    demo.fault(kind, method="POST", path="/issue")
    with pytest.raises(TransientError):
        made(target)
    is_made = kind in ("lost", "cut")
    assert len(demo.issues()) == is_made
    assert (target.find(SOURCE_ID) is not None) is is_made


def test_an_answer_that_takes_too_long_may_have_had_its_effect(demo, tmp_path):
    with http_client(tmp_path, "hasty", timeout_seconds=0.3) as http:
        demo.fault("slow", method="POST", path="/issue", seconds=1)
        with pytest.raises(TransientError, match="ReadTimeout"):
            made(jira(demo.url, http))
    assert len(demo.issues()) == 1


def test_an_issue_is_found_only_once_it_is_indexed(demo, target):
    demo.do("surroundings", jira_index_lag_seconds=3600)
    issue = made(target)
    assert target.find(SOURCE_ID) is None
    assert target.get(issue.key) == issue


def test_an_issue_that_no_search_finds_yet_is_found_by_what_was_made_before_it(demo, target):
    assert target.mark("HR") == "HR-0"
    made(target, "before")
    mark = target.mark("HR")
    assert mark == "HR-1"
    demo.do("surroundings", jira_index_lag_seconds=3600)
    for number in range(3):
        made(target, f"other {number}")
    issue = made(target)
    demo.delete("issues/HR-3")  # a gap
    assert target.find(SOURCE_ID) is None
    assert target.find_after(mark, SOURCE_ID) == issue
    assert target.find_after(issue.key, SOURCE_ID) is None
    assert target.find_after(mark, "before") is None


def test_a_mark_is_of_its_project_and_asked_for_once_in_a_run(demo, target, saas_http):
    made(target)
    target.create("IT", "Task", {"summary": "x"}, "another")
    stranger = jira(demo.url, saas_http)
    made(target)
    assert (stranger.mark("IT"), stranger.mark("HR")) == ("IT-1", "HR-2")
    made(target)
    assert (stranger.mark("HR"), target.mark("HR")) == ("HR-2", "HR-3")


def test_an_issue_is_found_behind_as_many_others_as_one_request_names(demo, target):
    for number in range(MAX_KEYS + 1):
        demo.ask("POST", "/issue", json=by_hand(number))
    issue = made(target)
    assert target.find_after("HR-0", SOURCE_ID) == issue


def by_hand(number):
    about = {"project": {"key": "HR"}, "issuetype": {"name": "Task"}}
    return {"fields": {**about, "summary": f"manual {number}"}}


def test_issues_that_jira_could_not_give_together_are_asked_for_alone(demo, target, tmp_path):
    """An error does not prove that there is none."""
    issue = made(target)
    (shown,) = demo.issues()

    def answer(request):
        if request.target.endswith("/bulkfetch"):
            errors = [{"id": "HR-1", "errorMessage": "try again"}]
            return Reply(200, {}, json.dumps({"issues": [], "issueErrors": errors}).encode())
        is_there = "/issue/HR-1?" in request.target
        return Reply(200, {}, json.dumps(shown).encode()) if is_there else Reply(404)

    with FaultyServer(answer) as server, http_client(tmp_path) as http:
        assert jira(server.url, http).find_after("HR-0", SOURCE_ID) == issue


def test_a_key_without_a_number_is_refused(tmp_path):
    page = Reply(200, {}, b'{"issues": [{"key": "HR-x"}]}')
    with (
        FaultyServer(lambda _: page) as server,
        http_client(tmp_path) as http,
        pytest.raises(ContractError, match="an issue of Jira cannot be read"),
    ):
        jira(server.url, http).mark("HR")


def test_an_issue_that_jira_made_and_does_not_show_is_made_no_second_time(tmp_path):
    def answer(request):
        return Reply(201, {}, b'{"key": "HR-1"}') if request.method == "POST" else Reply(404)

    with FaultyServer(answer) as server, http_client(tmp_path) as http:
        with pytest.raises(RefusedError, match="Jira made the issue HR-1, and does not have") as it:
            made(jira(server.url, http))
        assert it.value.http_status == 403  # one that is never retried by itself


def test_a_create_that_does_not_say_what_it_made_can_be_looked_for(tmp_path):
    with (
        FaultyServer(lambda _: Reply(201, {}, b"{}")) as server,
        http_client(tmp_path) as http,
        pytest.raises(TransientError, match="does not say which issue it made"),
    ):
        made(jira(server.url, http))


def test_a_refusal_of_jira_is_quoted_and_not_retried(demo, target):
    with pytest.raises(RefusedError) as refusal:
        made(target, summary="two\nlines", assignee={"accountId": "712020:gone"})
    assert refusal.value.http_status == 400
    assert "newline characters" in refusal.value.found
    assert "cannot be assigned" in refusal.value.found
    with pytest.raises(RefusedError, match="permission"):
        target.create("SECRET", "Task", {"summary": "x"}, SOURCE_ID)
    assert demo.issues() == []


def test_an_update_sets_just_what_is_given_and_keeps_our_label(demo, target):
    issue = made(target, labels=["a"])
    target.update(issue.key, {"summary": "Done", "labels": ["b"]})
    (there,) = demo.issues()
    assert there["fields"]["labels"] == ["b", "peopleforce-task-1000"]
    assert target.get(issue.key).summary == "Done"


@pytest.mark.parametrize("kind", ["html", "cut"])
def test_an_update_that_a_proxy_answered_does_not_count_as_made(demo, target, kind):
    issue = made(target)
    demo.fault(kind, method="PUT")
    with pytest.raises(TransientError, match="did not say that it did"):
        target.update(issue.key, {"summary": "Done"})


@pytest.mark.parametrize("status", [408, 409, 425])
def test_an_edit_at_the_same_time_is_worth_another_try(tmp_path, status):
    with (
        FaultyServer(lambda _: Reply(status)) as server,
        http_client(tmp_path) as http,
        pytest.raises(TransientError, match="did not say that it did"),
    ):
        jira(server.url, http).update("HR-1", {"summary": "x"})


def test_a_deleted_issue_is_none_and_cannot_be_changed(demo, target):
    issue = made(target)
    demo.delete(f"issues/{issue.key}")
    assert target.get(issue.key) is None
    with pytest.raises(RefusedError) as refusal:
        target.update(issue.key, {"summary": "x"})
    assert refusal.value.http_status == 404


def test_transitions_say_which_category_they_lead_to(target):
    issue = made(target)
    ways = target.transitions(issue.key)
    assert [(way.name, way.to_name, way.to_category) for way in ways] == [
        ("Cancel", "Cancelled", "done"),  # a trap: the first that leads to an end
        ("Start", "In Progress", "indeterminate"),
        ("Done", "Done", "done"),
    ]
    target.transition(issue.key, ways[-1].transition_id)
    assert target.get(issue.key).status_name == "Done"
    with pytest.raises(RefusedError) as refusal:
        target.transition(issue.key, "21")
    assert refusal.value.http_status == 400


def test_a_step_without_an_answer_is_not_taken_again(demo, target):
    issue = made(target)
    demo.fault("lost", method="POST", path="/transitions")
    with pytest.raises(TransientError):
        target.transition(issue.key, "21")
    assert target.get(issue.key).status_name == "In Progress"


def test_the_create_screen_comes_from_all_its_pages_and_is_asked_for_once(demo, target):
    fields = {field.field_id: field for field in target.create_fields("OPS", "Request")}
    assert len(fields) == 10
    department = fields["customfield_10050"]
    assert (department.is_required, department.type) == (True, "option")
    assert department.allowed_values == ("People", "IT")
    assert fields["reporter"].is_required
    assert fields["reporter"].has_default
    demo.fault("unavailable", times=100)
    assert len(target.create_fields("OPS", "Request")) == 10
    with pytest.raises(TransientError):  # a fault of the network says nothing of a screen
        target.create_fields("HR", "Task")


def test_a_refused_create_has_its_screen_asked_for_again(demo, target):
    target.create_fields("HR", "Task")
    with pytest.raises(RefusedError):
        made(target, nothing="x")
    demo.fault("unavailable", path="createmeta", times=2)
    with pytest.raises(TransientError):
        target.create_fields("HR", "Task")


@pytest.mark.parametrize(("project", "kind"), [("HR", "Epic"), ("NONE", "Task")])
def test_a_project_or_type_that_is_not_there_is_refused(target, project, kind):
    with pytest.raises(RefusedError) as refusal:
        target.create_fields(project, kind)
    assert refusal.value.http_status == 404


@pytest.mark.parametrize(
    ("email", "account_id"),
    [
        ("anna@example.org", "712020:anna"),  # though joanna@ is found too
        ("ANNA@example.org", "712020:anna"),
        ("twin@example.org", None),  # two people
        ("gone@example.org", None),  # no issue may be assigned to them
        ("unknown@example.org", None),
        ("ann", None),
    ],
)
def test_a_user_is_found_by_the_whole_address_alone(target, email, account_id):
    found = target.user_by_email(email)
    assert (found and found.account_id) == account_id


def test_a_search_pages_by_tokens_and_gives_each_issue_once(demo, target):
    keys = [made(target, f"s{number}").key for number in range(21)]
    pages = list(target.search('project = "HR" ORDER BY created ASC'))
    assert [[issue.key for issue in page] for page in pages] == [keys[:20], keys[20:]]
    demo.fault("repeat_page", path="/search/jql", times=2)
    again = [issue.key for page in target.search("project = HR ORDER BY created") for issue in page]
    assert len(again) == len(set(again)) == 20


def test_pages_that_go_round_in_a_circle_end(tmp_path):
    page = Reply(200, {}, b'{"issues": [], "nextPageToken": "again"}')
    with FaultyServer(lambda _: page) as server, http_client(tmp_path) as http:
        with pytest.raises(MovedError, match="circle"):
            list(jira(server.url, http).search("project = HR"))
        assert len(server.requests) == 2


def test_permissions_are_listed_by_project(target):
    everything = {"BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "TRANSITION_ISSUES"}
    assert target.permissions("HR") == everything
    assert target.permissions("SECRET") == {"BROWSE_PROJECTS", "TRANSITION_ISSUES"}
    assert target.permissions("NONE") == frozenset()


@pytest.mark.parametrize(
    "ask",
    [
        lambda target: target.permissions("HR"),
        lambda target: target.user_by_email("anna@example.org"),
        lambda target: target.update("HR-1", {"summary": "x"}),
    ],
)
@pytest.mark.parametrize("status", [403, 404])
def test_what_refuses_everything_is_no_answer_to_what_was_asked(tmp_path, ask, status):
    with (
        FaultyServer(lambda _: Reply(status)) as server,
        http_client(tmp_path) as http,
        pytest.raises(ConfigurationError, match="rejects every request"),
    ):
        ask(jira(server.url, http))


def test_a_refusal_by_a_system_that_knows_us_is_about_what_was_asked(tmp_path):
    def answer(request):
        return Reply(200, {}, b"{}") if request.target.endswith("/myself") else Reply(403)

    with (
        FaultyServer(answer) as server,
        http_client(tmp_path) as http,
        pytest.raises(RefusedError),
    ):
        jira(server.url, http).user_by_email("anna@example.org")


def test_who_we_are_is_one_request(target):
    assert target.myself() == "Robot"
