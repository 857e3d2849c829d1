"""Jira Cloud's REST API v3: issues found, made, changed and moved on, and what they may hold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from orchestration_project.domains.saas.jira import (
    PERMISSIONS,
    PROPERTY,
    SYSTEM,
    field_of,
    issue_of,
    key_of,
    label_of,
    source_id_of,
    transition_of,
    user_of,
    user_of_address,
)
from orchestration_project.domains.saas.records import FieldSpec, Issue, Transition, User
from orchestration_project.domains.saas.wire import needed, storable, unreadable
from orchestration_project.engine.http import HttpClient, Response
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    MovedError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.saas.answers import json_in, refusal, shown
from orchestration_project.resources.saas.systems import RefusedError

CREDENTIALS = "JIRA_EMAIL and JIRA_TOKEN"
PAGE_ISSUES = 100
MAX_KEYS = 100
"""Issues that one request names by their keys."""
READ_FIELDS = ("summary", "description", "project", "issuetype", "status", "assignee", "updated")
TRANSIENT_STATUSES = frozenset({408, 409, 425})
"""Statuses of an edit at the same time, or of a request that came too late or too early."""
FORBIDDEN_STATUSES = frozenset({403, 404})
"""Statuses of what we may not do or see, and of hosts that are not Jira or take nothing of ours."""


class Jira:
    """Asks Jira Cloud, or whatever speaks its API at another address.

    Create screens and users are asked for once per instance of this class: once a run.
    """

    system = SYSTEM

    def __init__(self, http: HttpClient, *, url: str, email: str, token: SecretStr) -> None:
        self._http = http
        self._url = f"{url.rstrip('/')}/rest/api/3"
        self._email = email
        self._token = token
        self._screens: dict[tuple[str, str], Sequence[FieldSpec]] = {}
        self._users: dict[str, User | None] = {}
        self._newest: dict[str, int] = {}
        self.unreadable: dict[str, str] = {}

    def find(self, source_id: str) -> Issue | None:
        """Return the issue whose entity property says ``source_id``; of several the oldest.

        It is searched for by its label, and known by its property. Of the others no more is read,
        as people may write what cannot be.
        """
        jql = f'labels = "{label_of(source_id)}" ORDER BY created ASC'
        for page in self._pages(jql):
            for record in page:
                if source_id_of(record) == source_id:
                    return issue_of(record)
        return None

    def get(self, key: str) -> Issue | None:
        """Return an issue as it is now; None: there is none of that key."""
        record = self._record(key)
        return None if record is None else issue_of(record)

    def _record(self, key: str) -> Mapping[str, Any] | None:
        response = self._fetch(
            "GET", f"{_build_issue_path(key)}?{urlencode({'properties': PROPERTY})}"
        )
        return None if response.status == 404 else self._object(response, 200)

    def mark(self, project: str) -> str:
        """Return the key of the newest issue that a search finds, or that this made after it.

        Jira numbers a project's issues, and gives no number twice. Asked once a run.
        """
        if project not in self._newest:
            jql = f'project = "{project}" ORDER BY key DESC'
            values = {"jql": jql, "fields": ["summary"], "maxResults": 1}
            entries = self._object(self._fetch("POST", "/search/jql", values), 200)
            keys = [needed(item, "key", "an issue of Jira") for item in _list(entries, "issues")]
            self._newest[project] = max(map(_parse_number, keys), default=0)
        return f"{project}-{self._newest[project]}"

    def find_after(self, mark: str, source_id: str) -> Issue | None:
        """Return the issue of ``source_id`` among those of higher numbers than a mark's.

        They are requested by their keys, which rests on no index, until a hundred in a row are not
        there.
        """
        project, number = mark.rpartition("-")[0], _parse_number(mark)
        while True:
            numbers = range(number + 1, number + 1 + MAX_KEYS)
            records = self._of_keys([f"{project}-{count}" for count in numbers])
            for record in records:
                if source_id_of(record) == source_id:
                    return issue_of(record)
            if not records:
                return None
            number += MAX_KEYS

    def _of_keys(self, keys: Sequence[str]) -> list[Any]:
        """Return those of these issues that are there, as they came."""
        values = {"issueIdsOrKeys": keys, "fields": READ_FIELDS, "properties": [PROPERTY]}
        entries = self._object(self._fetch("POST", "/issue/bulkfetch", values), 200)
        records = _list(entries, "issues")
        if entries.get("issueErrors"):  # some may be there all the same: each is asked for alone
            there = {key_of(each) for each in records}
            records += [each for key in keys if key not in there and (each := self._record(key))]
        return records

    def create(
        self, project: str, issue_type: str, fields: Mapping[str, Any], source_id: str
    ) -> Issue:
        """Make an issue whose entity property says ``source_id``; asked once, never again.

        Raises:
            TransientError: It is unknown whether it was made. If it was, `find_after` finds it, and
                `find` once Jira has indexed it, some seconds or minutes later.
        """
        labels = [*(fields.get("labels") or ()), label_of(source_id)]
        body = {
            "fields": {
                **fields,
                "project": {"key": project},
                "issuetype": {"name": issue_type},
                "labels": labels,
            },
            "properties": [{"key": PROPERTY, "value": {"id": source_id}}],
        }
        try:
            values = self._object(self._fetch("POST", "/issue", body, is_repeatable=False), 201)
        except RefusedError:
            self._screens.pop((project, issue_type), None)  # it may have changed
            raise
        issue = self._made(values.get("key"))
        self._newest[project] = max(self._newest.get(project, 0), _parse_number(issue.key))
        return issue

    def _made(self, key: object) -> Issue:
        """Return an issue that was just made.

        One that is not shown is made no second time by itself: that one would be hidden as well.
        """
        if not isinstance(key, str):
            raise TransientError("Jira does not say which issue it made", remedy="it is looked for")
        issue = self.get(key)
        if issue is None:
            raise RefusedError(
                f"Jira made the issue {key}, and does not have it when asked",
                http_status=403,
                expected="an issue that its maker may see",
                remedy=f"see what {CREDENTIALS} may browse, and what deletes issues; then replay",
            )
        return issue

    def update(self, key: str, fields: Mapping[str, Any]) -> None:
        """Set just these fields; the label by which the issue is found stays."""
        values = dict(fields)
        if "labels" in values:
            issue = self.get(key)
            names = [label_of(issue.source_id)] if issue and issue.source_id else []
            values["labels"] = [*(values["labels"] or ()), *names]
        self._done(self._fetch("PUT", _build_issue_path(key), {"fields": values}))

    def transitions(self, key: str) -> Sequence[Transition]:
        """Return the steps that an issue may take now."""
        values = self._object(self._fetch("GET", f"{_build_issue_path(key)}/transitions"), 200)
        return [transition_of(item) for item in _list(values, "transitions")]

    def transition(self, key: str, transition_id: str) -> None:
        """Have an issue take a step; asked once: a second one may start elsewhere."""
        body = {"transition": {"id": transition_id}}
        path = f"{_build_issue_path(key)}/transitions"
        self._done(self._fetch("POST", path, body, is_repeatable=False))

    def create_fields(self, project: str, issue_type: str) -> Sequence[FieldSpec]:
        """Return the fields that an issue of that kind can be created with.

        Raises:
            RefusedError: The project or type does not exist, or is hidden from us.
        """
        known_field_specs = self._screens.get((project, issue_type))
        if known_field_specs is None:
            path = f"/issue/createmeta/{quote(project, safe='')}/issuetypes"
            types = {entry.get("name"): entry.get("id") for entry in self._all(path, "issueTypes")}
            if issue_type not in types:
                raise RefusedError(
                    f"Jira's project {project} has no issue type {issue_type!r} for us",
                    http_status=404,
                    expected=f"one of {', '.join(sorted(map(str, types)))}",
                    remedy="correct the rule, or the project's scheme of issue types",
                )
            screen = f"{path}/{quote(str(types[issue_type]), safe='')}"
            known_field_specs = [field_of(entry) for entry in self._all(screen, "fields")]
            self._screens[project, issue_type] = known_field_specs
        return known_field_specs

    def user_by_email(self, email: str) -> User | None:
        """Return the one active user of exactly that address; None: there is none, or several."""
        if email not in self._users:
            query = urlencode({"query": email, "maxResults": 200})
            response = self._fetch("GET", f"/user/search?{query}")
            if response.status != 200:
                raise self._refused(response)
            found = json_in(response)
            if not isinstance(found, list):
                raise refusal("Jira", response, credentials=CREDENTIALS)
            self._users[email] = user_of_address([user_of(item) for item in found], email)
        return self._users[email]

    def search(self, jql: str) -> Iterator[Sequence[Issue]]:
        """Yield the issues that a query finds, page by page, each issue once.

        Those that cannot be read are left out, and listed in `unreadable`.

        Raises:
            MovedError: The pages go round in a circle.
        """
        self.unreadable = {}
        for page in self._pages(jql):
            yield [issue for record in page if (issue := self._readable(record))]

    def _readable(self, record: Any) -> Issue | None:
        key = key_of(record)
        try:
            return issue_of(record)
        except ContractError as error:
            self.unreadable[key] = str(error)
            return None

    def _pages(self, jql: str) -> Iterator[Sequence[Any]]:
        """Yield the records that a query finds as they came, page by page, each issue once."""
        names: set[str] = set()
        tokens: set[str] = set()
        values: dict[str, object] = {"jql": jql, "fields": READ_FIELDS, "maxResults": PAGE_ISSUES}
        values["properties"] = [PROPERTY]
        token: str | None = ""
        while token is not None:
            page = {**values, "nextPageToken": token} if token else values
            entries = self._object(self._fetch("POST", "/search/jql", page), 200)
            records = {key_of(item): item for item in _list(entries, "issues")}
            yield [record for key, record in records.items() if key not in names]
            names |= records.keys()
            token = entries.get("nextPageToken")  # isLast is said to be wrong at times
            if token in tokens:
                raise MovedError(
                    "the pages of a search of Jira's go round in a circle",
                    expected="a nextPageToken that was not given before",
                    found=f"the same one after {len(names)} issues",
                    remedy="nothing: it is searched again",
                )
            tokens.add(token or "")

    def myself(self) -> str:
        """Return by which name Jira knows us: one request."""
        return str(self._object(self._fetch("GET", "/myself"), 200).get("displayName"))

    def permissions(self, project: str) -> frozenset[str]:
        """Return our permissions in a project, of those we use: none where it does not exist."""
        query = urlencode({"projectKey": project, "permissions": ",".join(PERMISSIONS)})
        response = self._fetch("GET", f"/mypermissions?{query}")
        if response.status == 404:
            self._make_sure_of_jira()
            return frozenset()
        permissions = storable(self._object(response, 200).get("permissions"), "an answer of Jira")
        return frozenset(
            name
            for name, permission in permissions.items()
            if isinstance(permission, dict) and permission.get("havePermission") is True
        )

    def _all(self, path: str, name: str) -> list[Mapping[str, Any]]:
        """Return the entries of all pages of a listing; a Server names them `values` in any."""
        listed: list[Mapping[str, Any]] = []
        while True:
            query = urlencode({"startAt": len(listed), "maxResults": 50})
            values = self._object(self._fetch("GET", f"{path}?{query}"), 200)
            page = _list(values, name if name in values else "values")
            listed += [storable(item, "an entry of Jira's") for item in page]
            total = values.get("total")
            if not page or (isinstance(total, int) and len(listed) >= total):
                return listed

    def _object(self, response: Response, status: int) -> Mapping[str, Any]:
        """Return the object of an answer with ``status``."""
        if response.status != status:
            raise self._refused(response)
        found = json_in(response)
        if not isinstance(found, dict):
            storable(found, "an answer of Jira")
        return found

    def _done(self, response: Response) -> None:
        """Make sure that a change was made: a proxy's page says 200."""
        if response.status != 204:
            raise self._refused(response)

    def _refused(self, response: Response) -> Exception:
        if response.status in TRANSIENT_STATUSES or 200 <= response.status < 300:
            return TransientError(
                "Jira did not say that it did what it was asked",
                expected="HTTP 200, 201 or 204, as its API has it",
                found=f"HTTP {response.status}, {len(response.body)} bytes",
                remedy="it is looked at and asked again",
                url=response.url,
            )
        if response.status in FORBIDDEN_STATUSES:
            self._make_sure_of_jira()
        return refusal("Jira", response, credentials=CREDENTIALS)

    def _make_sure_of_jira(self) -> None:
        """Make sure, after a refusal, that it is about the request: it always answers who we are.

        Raises:
            ConfigurationError: Everything is refused, so nothing follows for a task or a rule.
        """
        response = self._fetch("GET", "/myself")
        if response.status in FORBIDDEN_STATUSES:
            raise ConfigurationError(
                "Jira rejects every request",
                expected="that GET /myself names this account",
                found=shown(response),
                remedy=(
                    "check JIRA_URL, Jira's licence, and its allowed addresses; waiting changes "
                    "are retried"
                ),
                url=response.url,
            )

    def _fetch(
        self, method: str, path: str, body: object = None, *, is_repeatable: bool = True
    ) -> Response:
        return self._http.request(
            method,
            self._url + path,
            headers={"Accept": "application/json"},
            json=body,
            basic_auth=(self._email, self._token.get_secret_value()),
            is_repeatable=is_repeatable,
        )


def _build_issue_path(key: str) -> str:
    return f"/issue/{quote(key, safe='')}"


def _parse_number(key: str) -> int:
    """Return the number in an issue's key, such as 42 of HR-42."""
    digits = key.rpartition("-")[2]
    if not (digits.isascii() and digits.isdecimal()):
        raise unreadable("an issue of Jira", "a key such as HR-42", key)
    return int(digits)


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    listed = found.get(name)
    if not isinstance(listed, list):
        raise SourceError(
            f"an answer of Jira has no list of {name}",
            expected=f'{{"{name}": [...]}}',
            found=", ".join(map(str, list(found)[:10])),
            remedy="check JIRA_URL: is it a Jira Cloud?",
        )
    return listed
