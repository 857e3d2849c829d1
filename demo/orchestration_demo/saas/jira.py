"""Jira Cloud's REST API v3 over HTTP, as far as issues are kept equal through it."""

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestration_demo.access import RefusedError
from orchestration_demo.saas.faults import shifted
from orchestration_demo.saas.issues import InvalidError, Issue, Issues, user_shown
from orchestration_demo.saas.jql import JqlError, search
from orchestration_demo.saas.people import PEOPLE, Json
from orchestration_demo.saas.projects import PERMISSIONS, PROJECTS, described, status

EMAIL, TOKEN = "robot@example.org", "demo-token"
BASE = "/jira/rest/api/3"
PAGE_ISSUES = 50
MAX_ISSUES = 20  # fewer than callers ask for, as Jira may
PAGE_FIELDS = 5  # fewer than a project has, so that callers page
MAX_ISSUE_KEYS = 100
REMOVED_API_MESSAGE = (
    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. "
    "A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046"
)
NO_ISSUE = "Issue does not exist or you do not have permission to see it."

Handler = Callable[[Request], Awaitable[Response]]


class Jira:
    """The routes over ``issues``."""

    def __init__(self, issues: Issues) -> None:
        self._issues = issues
        issue, meta = "/issue/{key}", "/issue/createmeta/{project}/issuetypes"
        self.routes = [
            self._route(meta, self._issue_types),
            self._route(f"{meta}/{{issue_type}}", self._create_fields),
            self._route("/issue", self._create, "POST"),
            self._route("/issue/bulkfetch", self._named, "POST"),
            self._route(issue, self._get),
            self._route(issue, self._update, "PUT"),
            self._route(f"{issue}/transitions", self._transitions),
            self._route(f"{issue}/transitions", self._transition, "POST"),
            self._route(f"{issue}/properties/{{name}}", self._property),
            self._route("/search", self._gone, "GET", "POST"),
            self._route("/search/jql", self._search, "POST"),
            self._route("/user/search", self._users),
            self._route("/mypermissions", self._permissions),
            self._route("/myself", self._myself),
        ]

    def _route(self, path: str, handler: Handler, *methods: str) -> Route:
        async def admitted(request: Request) -> Response:
            _admit(request)
            try:
                return await handler(request)
            except InvalidError as error:
                return _refusal(400, errors=error.errors)
            except JqlError as error:
                return _refusal(400, str(error))

        return Route(BASE + path, admitted, methods=list(methods) or ["GET"])

    async def _issue_types(self, request: Request) -> Response:
        project = PROJECTS.get(request.path_params["project"])
        if project is None or "CREATE_ISSUES" in project.refused:
            return _refusal(404, "No project could be found with that key.")
        listed = [
            {"id": type_id, "name": name, "subtask": False}
            for type_id, name in project.issue_types.items()
        ]
        return JSONResponse(_page(request, "issueTypes", listed, 50))

    async def _create_fields(self, request: Request) -> Response:
        project = PROJECTS.get(request.path_params["project"])
        if project is None or request.path_params["issue_type"] not in project.issue_types:
            return _refusal(404, "No project or issue type could be found.")
        listed = [described(name, each) for name, each in project.fields.items()]
        return JSONResponse(_page(request, "fields", listed, PAGE_FIELDS))

    async def _create(self, request: Request) -> Response:
        body = await _body(request)
        properties = {each["key"]: each["value"] for each in body.get("properties", [])}
        issue = self._issues.create(_object(body.get("fields")), properties)
        self._issues.writes += 1
        url = f"{request.base_url}jira/rest/api/3/issue/{issue.issue_id}"
        return JSONResponse({"id": issue.issue_id, "key": issue.key, "self": url}, 201)

    async def _named(self, request: Request) -> Response:
        """Answer with the issues of some keys, as they are now; those that are not there lack."""
        body = await _body(request)
        names = [str(each) for each in body.get("issueIdsOrKeys", ())]
        if not 0 < len(names) <= MAX_ISSUE_KEYS:
            return _refusal(400, f"Between 1 and {MAX_ISSUE_KEYS} issues can be asked for.")
        found = [issue for name in names if (issue := self._issues.get(name))]
        shown = [self._shown(each, body.get("properties", ())) for each in found]
        return JSONResponse({"issues": shown, "issueErrors": []})

    async def _get(self, request: Request) -> Response:
        issue = self._found(request)
        return JSONResponse(self._shown(issue, _listed(request.query_params.get("properties"))))

    async def _update(self, request: Request) -> Response:
        issue, body = self._found(request), await _body(request)
        self._issues.update(issue, _object(body.get("fields")))
        self._issues.writes += 1
        return Response(status_code=204)

    async def _transitions(self, request: Request) -> Response:
        issue = self._found(request)
        ways = [
            {
                "id": way_id,
                "name": name,
                "to": status(target),
                "hasScreen": False,
                "isGlobal": False,
            }
            for way_id, (name, target, sources) in issue.project.workflow.items()
            if issue.status in sources
        ]
        return JSONResponse({"expand": "transitions", "transitions": ways})

    async def _transition(self, request: Request) -> Response:
        issue, body = self._found(request), await _body(request)
        if not self._issues.transition(issue, str(_object(body.get("transition")).get("id"))):
            return _refusal(
                400,
                f"It seems that you have tried to perform a workflow operation that is not "
                f"valid for the current state of this issue {issue.key}.",
            )
        self._issues.writes += 1
        return Response(status_code=204)

    async def _property(self, request: Request) -> Response:
        issue, name = self._found(request), request.path_params["name"]
        if name not in issue.properties:
            return _refusal(404, f"The property {name} is not set.")
        return JSONResponse({"key": name, "value": issue.properties[name]})

    async def _gone(self, _: Request) -> Response:
        return _refusal(410, REMOVED_API_MESSAGE)

    async def _search(self, request: Request) -> Response:
        body = await _body(request)
        found = search(self._issues.searchable(), str(body.get("jql", "")))
        size = min(int(body.get("maxResults", PAGE_ISSUES)), MAX_ISSUES)
        start = _offset_of(body.get("nextPageToken"))
        served = (shifted(request, start // size + 1) - 1) * size if start else 0
        page = found[served : served + size]
        answer: Json = {
            "issues": [self._shown(each, body.get("properties", ())) for each in page],
            "isLast": start + size >= len(found),
        }
        if start + size < len(found):
            answer["nextPageToken"] = base64.urlsafe_b64encode(b"%d" % (start + size)).decode()
        return JSONResponse(answer)

    async def _users(self, request: Request) -> Response:
        wanted = request.query_params.get("query", "").lower()
        if not wanted:
            return _refusal(400, "The query parameter is required.")
        # As Jira does: a part of a word of name or address is enough.
        local = wanted.partition("@")[0]
        found = [
            user_shown(each)
            for each in PEOPLE
            if each.account_id
            and (local in (each.email or "").lower() or local in each.name.lower())
        ]
        return JSONResponse(found)

    async def _myself(self, _: Request) -> Response:
        return JSONResponse({"accountId": "712020:robot", "displayName": "Robot", "active": True})

    async def _permissions(self, request: Request) -> Response:
        project = PROJECTS.get(request.query_params.get("projectKey", ""))
        wanted = _listed(request.query_params.get("permissions"))
        if project is None:
            return _refusal(404, "No project could be found with that key.")
        if not wanted or not set(wanted) <= set(PERMISSIONS):
            return _refusal(400, "The 'permissions' query parameter is required or unrecognized.")
        told = {
            each: {"key": each, "type": "PROJECT", "havePermission": each not in project.refused}
            for each in wanted
        }
        return JSONResponse({"permissions": told})

    def _found(self, request: Request) -> Issue:
        issue = self._issues.get(request.path_params["key"])
        if issue is None:
            raise RefusedError(404, NO_ISSUE)
        return issue

    def _shown(self, issue: Issue, properties: Iterable[str]) -> Json:
        requested = {
            name: issue.properties[name] for name in properties if name in issue.properties
        }
        return self._issues.shown(issue) | ({"properties": requested} if requested else {})


def _admit(request: Request) -> None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except binascii.Error:
        given = b""
    if not hmac.compare_digest(given, f"{EMAIL}:{TOKEN}".encode()):
        raise RefusedError(401, "Client must be authenticated to access this resource.")


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        found = json.loads(await request.body())
    except ValueError:
        raise RefusedError(
            400, "There was an error parsing JSON. Check that your request body is valid."
        ) from None
    return _object(found)


def _object(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise RefusedError(400, "Invalid request payload. Refer to the REST API documentation.")
    return found


def _listed(text: str | None) -> list[str]:
    return [each for each in (text or "").split(",") if each]


def _page(request: Request, name: str, listed: Sequence[Json], most: int) -> Json:
    start = request.query_params.get("startAt", "0")
    offset = int(start) if start.isdecimal() else 0
    page = listed[offset : offset + most]
    return {"startAt": offset, "maxResults": most, "total": len(listed), name: page}


def _offset_of(token: Any) -> int:
    try:
        return int(base64.urlsafe_b64decode(token)) if token else 0
    except (ValueError, TypeError):
        raise RefusedError(400, "The nextPageToken is invalid or expired.") from None


def _refusal(status_code: int, *messages: str, errors: Mapping[str, str] | None = None) -> Response:
    body = {"errorMessages": list(messages), "errors": dict(errors or {})}
    return JSONResponse(body, status_code)
