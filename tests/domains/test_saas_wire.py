"""Records that are read of PeopleForce's and Jira's JSON, and those that are refused."""

import json
from datetime import UTC, datetime

import pytest

from orchestration_project.domains.saas import jira, peopleforce
from orchestration_project.domains.saas.events import TaskEvent
from orchestration_project.domains.saas.jira import (
    field_of,
    issue_of,
    transition_of,
    user_of,
    user_of_address,
)
from orchestration_project.domains.saas.peopleforce import task_of
from orchestration_project.domains.saas.records import Issue, Task, User
from orchestration_project.errors import ContractError

TASK = {
    "id": 7,
    "title": "Onboarding: badge",
    "description": "<p>Please</p>",
    "completed": False,
    "created_at": "2026-01-05T09:00:00+01:00",
    "assigned_to": {"email": "anna@example.org", "full_name": "Anna Berg"},
    "associated_to": {"full_name": "Olena Kovalenko"},
}

STATUS = {"name": "To Do", "id": "1", "statusCategory": {"id": 2, "key": "new", "name": "To Do"}}
DONE = {"name": "Done", "id": "3", "statusCategory": {"id": 3, "key": "done", "name": "Done"}}
ADF = {"type": "doc", "version": 1, "content": []}
FIELDS = {
    "summary": "Badge",
    "description": ADF,
    "project": {"id": "10000", "key": "HR"},
    "issuetype": {"id": "10001", "name": "Task"},
    "status": STATUS,
    "assignee": {"accountId": "712020:anna", "displayName": "Anna Berg"},
    "updated": "2026-01-05T09:00:00.123+0200",
}
ISSUE = {"id": "10001", "key": "HR-1", "fields": FIELDS}


def issue(**changes):
    return issue_of({**ISSUE, "fields": FIELDS | changes})


def text_of(error):
    return f"{error.what}: {error.found}"


def test_a_task_is_read_whole():
    assert task_of(TASK) == Task(
        system="peopleforce",
        entity_type="task",
        entity_id="7",
        title="Onboarding: badge",
        description_html="<p>Please</p>",
        is_completed=False,
        created_at=datetime(2026, 1, 5, 8, tzinfo=UTC),
        assignee_email="anna@example.org",
        assignee_name="Anna Berg",
        associated_name="Olena Kovalenko",
        fields=TASK,
    )


def test_a_task_may_lack_all_but_its_id_and_state():
    for bare in (
        {"id": 7, "completed": True},
        TASK | {"completed": True} | dict.fromkeys(TASK.keys() - {"id", "completed"}),
    ):
        found = task_of(bare)
        assert (found.entity_id, found.is_completed) == ("7", True)
        named = (found.title, found.description_html, found.assignee_email, found.associated_name)
        assert named == (None, None, None, None)


def test_blank_addresses_and_names_are_none():
    found = task_of(TASK | {"assigned_to": {"email": " ", "full_name": ""}, "associated_to": "A B"})
    assert (found.assignee_email, found.assignee_name, found.associated_name) == (None, None, "A B")


@pytest.mark.parametrize("text", ["👋🏽 שלום \u202e", "x" * 65_536])
def test_text_stays_letter_by_letter(text):
    assert task_of(TASK | {"title": text}).title == text


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"id": None}, "a task of PeopleForce cannot be read: NoneType None"),
        ({"id": True}, "bool True"),
        ({"id": 2**63}, "int 9223372036854775808"),
        ({"id": "x" * 65}, "xxx"),
        ({"completed": "false"}, "PeopleForce's task 7 cannot be read: false"),
        ({"completed": None}, "NoneType None"),
        ({"title": 5}, "int 5"),
        ({"title": ["a"]}, "list ['a']"),
        ({"title": "nul\x00"}, r"nul\x00"),
        ({"title": "half \ud83d"}, r"half \ud83d"),
        ({"new": {"deep": ["\ud83d"]}}, r"\ud83d"),
        ({"description": {"html": ""}}, "dict {'html': ''}"),
        ({"created_at": "yesterday"}, "yesterday"),
        ({"created_at": "2026-01-05T09:00:00"}, "2026-01-05T09:00:00"),
        ({"created_at": 1e300}, "float 1e+300"),
        ({"assigned_to": "anna@example.org"}, "anna@example.org"),
        ({"assigned_to": {"email": ["a"]}}, "list ['a']"),
        ({"associated_to": 5}, "int 5"),
    ],
)
def test_a_task_of_other_types_is_refused_and_quoted(changes, found):
    with pytest.raises(ContractError) as refusal:
        task_of(TASK | changes)
    assert found in text_of(refusal.value)


@pytest.mark.parametrize("record", [None, [], "task", 5])
def test_what_is_no_object_is_no_task(record):
    with pytest.raises(ContractError, match="a JSON object"):
        task_of(record)


def test_nesting_has_an_end():
    deep: list[object] = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(ContractError, match="at most 64 levels"):
        task_of(TASK | {"deep": deep})


def test_an_issue_of_the_cloud_is_read_whole():
    properties = {"orchestration-source": {"id": "peopleforce/task/7"}}
    labels = {"labels": ["a", "peopleforce-task-7"]}
    found = issue_of({**ISSUE, "fields": FIELDS | labels, "properties": properties})
    assert found == Issue(
        key="HR-1",
        issue_id="10001",
        project="HR",
        issue_type="Task",
        summary="Badge",
        description=ADF,
        status_name="To Do",
        status_category="new",
        assignee_account_id="712020:anna",
        updated_at=datetime(2026, 1, 5, 7, 0, 0, 123000, tzinfo=UTC),
        source_id="peopleforce/task/7",
        fields=FIELDS | {"labels": ["a"]},
    )


def test_an_issue_of_a_server_has_text_and_names():
    found = issue(description="one\r\n\r\ntwo", assignee={"name": "anna", "key": "JIRAUSER1"})
    assert found.assignee_account_id == "anna"
    assert found.description == {
        "type": "doc",
        "version": 1,
        "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": line}]}
            for line in ("one", "two")
        ],
    }
    assert (issue(description=" ").description, issue(assignee=None).assignee_account_id) == (
        None,
        None,
    )


def test_a_status_without_category_is_not_begun():
    status = STATUS | {"statusCategory": {"key": "undefined"}}
    assert issue(status=status).status_category == "new"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None},
        {"status": STATUS | {"statusCategory": {"key": "odd"}}},
        {"updated": None},
        {"project": "HR"},
        {"description": 5},
        {"assignee": ["anna"]},
    ],
)
def test_an_issue_of_other_types_is_refused(changes):
    with pytest.raises(ContractError, match="Jira's issue HR-1 cannot be read"):
        issue(**changes)


def test_fields_transitions_and_users_are_read_as_both_editions_have_them():
    cloud = {"fieldId": "duedate", "key": "x", "name": "Due", "schema": {"type": "date"}}
    server = {"key": "duedate", "name": "Due", "schema": {"type": "date"}, "required": False}
    assert field_of(cloud) == field_of(server | {"allowedValues": None})
    option = cloud | {"allowedValues": [{"value": "a"}, {"name": "b"}, {"id": "3"}, "c"]}
    assert field_of(option).allowed_values == ("a", "b")
    several = {"schema": {"type": "array", "items": "option"}}
    assert (field_of(cloud).items, field_of(cloud | several).items) == ("string", "option")
    plugin = "com.atlassian.jira.plugin.system.customfieldtypes"
    for schema, is_document in (
        ({"system": "environment"}, True),
        ({"custom": f"{plugin}:textarea"}, True),
        ({"custom": f"{plugin}:textfield"}, False),
    ):
        field = field_of(cloud | {"schema": {"type": "string", **schema}})
        assert field.is_document is is_document
    step = transition_of({"id": 31, "name": "Finish", "to": DONE})
    assert (step.transition_id, step.to_name, step.to_category) == ("31", "Done", "done")
    assert user_of({"name": "anna", "active": True}) == User("anna", None, True)


def test_only_one_active_user_of_the_whole_address_is_meant():
    anna, other = User("1", "Anna@example.org", True), User("2", "joanna@example.org", True)
    hidden, gone = User("3", None, True), User("4", "gone@example.org", False)
    everybody = [anna, other, hidden, gone]
    assert user_of_address(everybody, "anna@example.org ") == anna
    for address in ("gone@example.org", "", "example.org"):
        assert user_of_address(everybody, address) is None
    assert user_of_address([anna, User("5", "anna@example.org", True)], "anna@example.org") is None


def webhook(event, fields=FIELDS, **more):
    body = {"webhookEvent": event, "timestamp": 1, "issue": {**ISSUE, "fields": fields}, **more}
    return jira.event_in(json.dumps(body).encode())


CLOUD_USER = {"user": {"accountId": "712020:anna"}}
SERVER_USER = {"user": {"name": "anna", "key": "JIRAUSER1", "emailAddress": "anna@example.org"}}
CHANGED = {"changelog": {"id": "1", "items": [{"field": "status", "toString": "Done"}]}}
COMMENT = {"comment": {"id": "5", "body": "done"}}


@pytest.mark.parametrize("user", [CLOUD_USER, SERVER_USER])
@pytest.mark.parametrize(
    ("event", "status", "more", "kind"),
    [
        ("jira:issue_created", STATUS, {"issue_event_type_name": "issue_created"}, "created"),
        ("jira:issue_created", DONE, {}, "created"),
        ("jira:issue_updated", STATUS, CHANGED, "updated"),
        ("jira:issue_updated", STATUS, {}, "updated"),
        ("jira:issue_updated", DONE, CHANGED, "completed"),
        ("jira:issue_updated", DONE, {}, "completed"),
        ("jira:issue_deleted", DONE, {}, "deleted"),
        ("comment_created", DONE, COMMENT, "commented"),
        ("comment_updated", STATUS, COMMENT, "commented"),
        # A Server's comment is an update; with a transition it is one indeed.
        (
            "jira:issue_updated",
            DONE,
            {"issue_event_type_name": "issue_commented", **COMMENT},
            "commented",
        ),
        (
            "jira:issue_updated",
            DONE,
            {"issue_event_type_name": "issue_commented", **COMMENT, **CHANGED},
            "completed",
        ),
    ],
)
def test_webhooks_of_jira_are_distinguished(event, status, more, kind, user):
    assert webhook(event, FIELDS | {"status": status}, **more, **user) == TaskEvent(
        "jira", kind, "HR-1"
    )


@pytest.mark.parametrize("event", ["jira:version_released", "user_created", "sprint_started"])
def test_webhooks_about_other_things_concern_no_issue(event):
    assert webhook(event, issue=None) == TaskEvent("jira", "other", None)
    assert webhook("comment_deleted", issue=None) == TaskEvent("jira", "other", None)


def test_a_comment_says_little_of_its_issue():
    assert webhook("comment_created", {"summary": "Badge"}).kind == "commented"
    assert webhook("jira:issue_updated", {"summary": "Badge"}).kind == "updated"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("task_create", "created"),
        ("task_created", "created"),
        ("task_update", "updated"),
        ("task_assign", "updated"),
        ("task_complete", "completed"),
        ("task_delete", "deleted"),
        ("task_destroyed", "deleted"),
    ],
)
def test_webhooks_of_peopleforce_are_distinguished(action, kind):
    flat = {"action": action, "data": TASK}
    nested = {"action": action, "data": {"id": "7", "type": "task", "attributes": TASK}}
    for body in (flat, nested):
        found = peopleforce.event_in(json.dumps(body).encode())
        assert found == TaskEvent("peopleforce", kind, "7")


def test_webhooks_of_peopleforce_about_people_concern_no_task():
    body = {"action": "employee_create", "data": {"id": 1}}
    assert peopleforce.event_in(json.dumps(body).encode()) == TaskEvent(
        "peopleforce", "other", None
    )


@pytest.mark.parametrize("read", [jira.event_in, peopleforce.event_in])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"{}",
        b'{"action": 5, "webhookEvent": 5}',
        b'{"action": "task_create", "webhookEvent": "jira:issue_created"}',
        b'{"action": "task_create", "data": [], "webhookEvent": "jira:issue_created", "issue": []}',
        b'{"action": "task_create", "data": {"id": 1e5}, "webhookEvent": "jira:issue_updated", '
        b'"issue": {"key": 7}}',
        b'{"action": "task_create", "data": {"id": ' + b"9" * 5000 + b'}, "webhookEvent": null}',
        b'{"action": "task_create", "data": {"id": NaN}, "webhookEvent": NaN}',
        b'{"action": "task_create", "data": {"id": 7, "views": NaN}, '
        b'"webhookEvent": "jira:issue_created", "issue": {"key": "HR-1", "views": NaN}}',
        b'{"action": "\xff"}',
        b'{"action": "task_create", "data": {"id": "\\u0000"}, "webhookEvent": "\\u0000"}',
        b"7",
        b'"task_create"',
        b"\x00",
        b'{"action": "task_create", "data": {"id": 7}',
        b'{"action": "task_create", "data": {"id": 1e400}, "webhookEvent": "jira:issue_deleted"}',
        b'{"action": "task_create", "action": null, "webhookEvent": "x", "webhookEvent": null}',
        b'{"action": "task_create", "data": {"id": "\\ud800"}, "webhookEvent": "\\ud800"}',
        b'{"action": "task_update", "data": {"id": true}, "webhookEvent": "jira:issue_updated", '
        b'"issue": {"key": "HR-1", "fields": {"status": "Done"}}}',
    ],
)
def test_a_body_that_is_no_webhook_is_refused(read, body):
    with pytest.raises(ContractError) as refusal:
        read(body)
    assert len(str(refusal.value)) < 500
