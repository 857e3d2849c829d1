"""`/attention`: entries that need a person, with reasons, rows, captures and actions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import BALANCE_AUDIT
from orchestration_project.engine.contracts.job_kinds import EXPORT
from orchestration_project.engine.contracts.pauses import read_end
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.errors import ConfigurationError, cut
from orchestration_project.gateway.api.attention import (
    PATH,
    EntriesWanted,
    EntryAction,
    find_entry,
    perform,
    read_inbox,
    require_domain,
    retry_all,
)
from orchestration_project.gateway.api.data import RowPage, chosen_relation, read_page
from orchestration_project.gateway.api.operation import Body, Call, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of, wrong_fields
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.limits import read_form
from orchestration_project.gateway.pages import (
    TABLE_STYLE,
    framed_page,
    render_table,
)
from orchestration_project.gateway.request import Refusal, current_user
from orchestration_project.services.attention.rules import (
    ACCEPTED_FOR,
    LABELS,
    MAX_REASON_CHARACTERS,
    RETRIED_TOGETHER,
    TITLES,
    WITH_END,
    WITH_REASON,
    Entry,
    Expectation,
    Inbox,
    Selection,
)
from orchestration_project.services.links import (
    build_asset_url,
    build_capture_path,
    build_check_url,
    build_launchpad_url,
    build_partition_url,
    build_run_url,
)
from orchestration_project.tables.spine import captures, rejects, work_items

TITLE = "Attention"
EXPLANATION = (
    "Each entry needs a person. It disappears once its data is loaded, its run succeeds, its items "
    "are done, or its alert recovers. Times are in UTC."
)
EMPTY = "<p><strong>Nothing needs a person here.</strong></p>"

FORMER_PATH = "/quarantined"
"""Path of the page that listed quarantined partitions."""

ROWS_PER_PAGE = 50

ALWAYS_IN_ROWS = ("line_number", "record", "reason_code", "reason")
"""Columns that each row shows, also where all rows have the same value."""

TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")

IGNORED_FOR = timedelta(days=7)
"""Time for which the form proposes to ignore an entry."""

CELL_CHARACTERS, REASON_CHARACTERS = 300, 400

IN_A_ROW = ("retry", "replay")
"""Actions without a field, which have their button in the list."""

STYLE = f"""{TABLE_STYLE}
main {{ max-width: 100rem; }}
nav.filters {{ display: flex; flex-wrap: wrap; gap: .4rem .5rem; margin: .5rem 0; }}
nav.filters a {{ padding: .15rem .6rem; border: 1px solid #8888; border-radius: 1rem;
  text-decoration: none; }}
nav.filters a[aria-current] {{ font-weight: 700; border-color: currentColor; }}
tbody tr:nth-child(odd) {{ background: #8881; }}
td div.buttons {{ display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .5rem; }}
button {{ padding: .3rem .7rem; font: inherit; cursor: pointer; }}
div.actions {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }}
section.action {{ margin: 0; padding: .2rem 1rem 1rem; border: 1px solid #8888;
  border-radius: 8px; }}
.since {{ white-space: nowrap; }}
table.entries td:nth-child(1), table.entries td:nth-child(6) {{ overflow-wrap: normal; }}
table.entries td:nth-child(2) {{ min-width: 12rem; }}
table.entries td:nth-child(4), table.entries td:nth-child(5) {{ min-width: 14rem; }}
table.entries td:nth-child(7) {{ min-width: 9.5rem; }}
.wide {{ overflow-x: auto; }}
.wide table + table {{ margin-top: 1.5rem; }}
.wide td {{ max-width: 40rem; }}
[role=status] {{ padding: .6rem .8rem; border-left: 4px solid #2e7d32; background: #2e7d3222; }}
[role=alert] {{ padding: .6rem .8rem; border-left: 4px solid #b3261e; background: #b3261e22; }}
:focus-visible {{ outline: 3px solid #5b6cff; outline-offset: 2px; }}
"""

HEADINGS = ("Kind", "What", "Since", "Expected and found", "Does a retry help?", "Details")

ACTION = """<section class="action" id="{action}"><h3>{label}</h3>
<form method="post" action="{path}">
<input type="hidden" name="action" value="{action}">{fields}
<button type="submit">{label}</button></form></section>"""

REASON = """<label>Reason
<input name="reason" value="{value}" maxlength="{most}" required></label>"""

UNTIL = """<label>Until, with its zone, e.g. <span class="since">2026-03-02T18:00Z</span>
<input name="until" value="{value}" required></label>"""

BUTTON = """<form method="post" action="{path}"><input type="hidden" name="action" value="{action}">
<button type="submit">{label}</button></form>"""

RETRY_ALL = """<form method="post" action="{path}">
<input type="hidden" name="kind" value="{kind}"><input type="hidden" name="domain" value="{domain}">
<button type="submit">Retry all: {title}{of_domain} ({count})</button></form>"""

EXPLAINED: Mapping[str, str] = {
    "accept": "Loads this delivery once, although is_complete quarantines it. The acceptance holds "
    "for its SHA-256 alone, until its end; audit and evidence have it.",
    "accept_proposal": "Applies the proposal and loads the items of the latest crawl again.",
    "close": "Ends the alert. It is raised again if its cause fails again.",
    "acknowledge": "Shows others that somebody works on it. The entry stays listed.",
    "ignore": "Hides the entry until its end, or until its unit fails again.",
    "restore": "Removes the mark.",
    "retry": "Loads again what failed, from its source.",
    "replay": "Validates and loads again what was received, by the present rules.",
}


def routes(services: Services, installation: Installation) -> list[Route]:
    """Return the routes of the pages: everybody who is known reads them, operators act."""
    pages = _Pages(services, installation)
    return [
        Route(PATH, pages.show_list, methods=["GET"]),
        Route(PATH, pages.retry_kind, methods=["POST"]),
        Route(FORMER_PATH, _answer_redirect, methods=["GET"]),
        Route(f"{PATH}/{{entry_id}}", pages.show_entry, methods=["GET"]),
        Route(f"{PATH}/{{entry_id}}", pages.act, methods=["POST"]),
        Route(f"{PATH}/{{entry_id}}/rows/{{table}}", pages.show_rows, methods=["GET"]),
    ]


async def _answer_redirect(_request: Request) -> Response:
    return RedirectResponse(f"{PATH}?kind=quarantined", 308)


class _Pages:
    """Answers requests for the pages by what the API's operations do."""

    def __init__(self, services: Services, installation: Installation) -> None:
        self._services, self._installation = services, installation

    def _call(self, request: Request) -> Call[Any, Any]:
        return Call(self._services, current_user(), Parameters(), Body(), request)

    async def show_list(self, request: Request) -> Response:
        """Answer with the list, filtered by the query."""
        try:
            return await self._list(request, _parse_filter(request.query_params))
        except ProblemError as error:
            return self._problem(error)

    async def _list(
        self, request: Request, wanted: EntriesWanted, problem: ProblemError | None = None
    ) -> Response:
        call = self._call(request)
        await require_domain(call, wanted.domain)
        inbox = await read_inbox(call)
        content = (
            _render_problem(problem) + _notice(request) + _list(inbox, wanted, call.caller.role)
        )
        status = problem.problem.status if problem else 200
        content += '<p><a href="/approvals">Actions that wait for a second person</a></p>'
        return self._page(TITLE, EXPLANATION, content, status, inbox)

    async def retry_kind(self, request: Request) -> Response:
        """Retry all entries of a kind, and lead back to them."""
        self._require_operator()
        fields = await read_form(request)
        kind, domain = fields.get("kind", ""), fields.get("domain") or None
        try:
            attention_result = await retry_all(self._call(request), kind, domain)
        except ProblemError as error:
            return await self._list(request, EntriesWanted.model_validate({}), error)
        return _answer_done(
            "retry", attention_result.run_ids, kind=kind, **({"domain": domain} if domain else {})
        )

    async def show_entry(self, request: Request) -> Response:
        """Answer with an entry: why, links, rows, and a form for each action."""
        try:
            return await self._entry(request)
        except ProblemError as error:
            return self._problem(error)

    async def _entry(
        self,
        request: Request,
        problem: ProblemError | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Response:
        call = self._call(request)
        entry = await find_entry(call, request.path_params["entry_id"])
        content = _render_problem(problem) + _render_entry(entry, call.caller.role, fields or {})
        status = problem.problem.status if problem else 200
        return self._page(entry.title, f"{TITLES[entry.kind]}: {entry.advice}.", content, status)

    async def act(self, request: Request) -> Response:
        """Do an action of an entry, and lead back to the list."""
        self._require_operator()
        fields, entry_id = await read_form(request), request.path_params["entry_id"]
        try:
            attention_result = await perform(self._call(request), entry_id, _parse_action(fields))
        except ProblemError as error:
            if error.problem.status == 404:
                return self._problem(error)
            return await self._entry(request, error, fields)
        return _answer_done(attention_result.action, attention_result.run_ids)

    async def show_rows(self, request: Request) -> Response:
        """Answer with a page of the rejects, captures, items or letters of an entry."""
        call = self._call(request)
        try:
            entry = await find_entry(call, request.path_params["entry_id"])
            name = request.path_params["table"]
            if name not in (tables := _find_tables(entry)):
                raise ProblemError(404, "the entry has no such rows")
            relation = chosen_relation(call.caller, name, None, None)
            cursor = request.query_params.get("cursor")
            page = await self._services.in_thread(
                read_page, self._services, relation, [], tables[name], cursor, ROWS_PER_PAGE
            )
        except ProblemError as error:
            return self._problem(error)
        title = f"{name.replace('_', ' ').capitalize()} of {entry.title}"
        return self._page(
            title, f"{ROWS_PER_PAGE} rows a page, by key.", _render_rows(entry, name, page)
        )

    def _require_operator(self) -> None:
        if not current_user().role.covers(Role.OPERATOR):
            raise Refusal(403, "Actions need the role operator.")

    def _problem(self, error: ProblemError) -> Response:
        return self._page(TITLE, "", _render_problem(error) + _link_back(), error.problem.status)

    def _page(
        self,
        title: str,
        explanation: str,
        content: str,
        status: int = 200,
        inbox: Inbox | None = None,
    ) -> Response:
        installation = self._installation
        if inbox is not None:
            count = inbox.open_count
            installation = replace(installation, count_attention=lambda: count)
        return framed_page(
            title, explanation, content, installation, current_user(), status=status, style=STYLE
        )


def _parse_filter(given: Mapping[str, str]) -> EntriesWanted:
    """Return the filter of a query; its notice is none.

    Raises:
        ProblemError: A field is invalid.
    """
    pair = ("done", "runs")
    fields = {name: value for name, value in given.items() if value and name not in pair}
    try:
        return EntriesWanted.model_validate(fields)
    except ValidationError as error:
        raise wrong_fields(error.errors(include_url=False, include_input=False)) from None


def _parse_action(fields: Mapping[str, str]) -> EntryAction:
    """Return the action of a form.

    Raises:
        ProblemError: A field is invalid.
    """
    until = fields.get("until", "").strip()
    try:
        end = read_end(until) if until else None
        return EntryAction.model_validate(
            {"action": fields.get("action"), "reason": fields.get("reason", ""), "until": end}
        )
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    except ValidationError as error:
        raise wrong_fields(error.errors(include_url=False, include_input=False)) from None


def _answer_done(action: str, run_ids: Sequence[str], **query: str) -> Response:
    names = {"done": action, **({"runs": ",".join(run_ids)} if run_ids else {})}
    return RedirectResponse(f"{PATH}?{urlencode({**query, **names})}", 303)


def _notice(request: Request) -> str:
    label = LABELS.get(request.query_params.get("done", ""))
    if label is None:
        return ""
    runs = [part for part in request.query_params.get("runs", "").split(",") if part][:50]
    links = ", ".join(_link(build_run_url(run_id), run_id[:8]) for run_id in runs)
    launched = f": launched {links}" if links else ""
    return f'<p role="status">{label}: done{launched}</p>'


def _render_problem(error: ProblemError | None) -> str:
    if error is None:
        return ""
    problem = error.problem
    parts = [problem.detail]
    parts += [f"expected {problem.expected}"] if problem.expected else []
    parts += [f"found {problem.found}"] if problem.found else []
    parts += [f"what to do: {problem.remedy}"] if problem.remedy else []
    return f'<p role="alert">{escape("; ".join(parts))}</p>'


def _link_back() -> str:
    return f"<p>{_link(PATH, 'Back to all entries')}</p>"


def _list(inbox: Inbox, wanted: EntriesWanted, role: Role) -> str:
    chosen = inbox.select(wanted.selection)
    first = (wanted.page - 1) * wanted.limit
    entries = chosen[first : first + wanted.limit]
    is_operator = role.covers(Role.OPERATOR)
    headings = (*HEADINGS, "Actions") if is_operator else HEADINGS
    rows = [_render_row(entry, role) for entry in entries]
    table = render_table(headings, rows, name="entries") if rows else EMPTY
    buttons = _retry_buttons(inbox, wanted) if is_operator else ""
    return (
        _render_filters(inbox, wanted)
        + buttons
        + _cut(inbox)
        + table
        + _link_pages(wanted, len(chosen), first)
    )


def _render_filters(inbox: Inbox, wanted: EntriesWanted) -> str:
    selection = wanted.selection
    counts = inbox.counts("kind", selection)
    kinds = [("All kinds", None, sum(counts.values()))]
    kinds += [(TITLES[kind], kind, count) for kind, count in counts.items()]
    of_domain = inbox.counts("domain", selection)
    domains = [("All domains", None, sum(of_domain.values()))]
    domains += [(name, name, count) for name, count in of_domain.items()]
    hidden = replace(selection, is_ignored=True, kind=None, domain=None)
    ignored = len(inbox.select(hidden))
    states = [("Open", False, inbox.open_count), ("Ignored", True, ignored)]
    return (
        _render_nav("Kinds", "kind", kinds, wanted)
        + _render_nav("Domains", "domain", domains, wanted)
        + _render_nav("States", "ignored", states, wanted)
    )


def _render_nav(
    label: str,
    name: str,
    links: Sequence[tuple[str, str | bool | None, int]],
    wanted: EntriesWanted,
) -> str:
    """Return links that set a field of the filter, each with a count."""
    nav_links = ""
    for text, value, count in links:
        is_current = getattr(wanted, name) == value
        current = ' aria-current="true"' if is_current else ""
        path = _list_path(wanted.model_copy(update={name: value, "page": 1}))
        nav_links += f'<a href="{escape(path)}"{current}>{escape(text)} ({count})</a>'
    return f'<nav class="filters" aria-label="{label}">{nav_links}</nav>'


def _list_path(wanted: EntriesWanted) -> str:
    query = urlencode(wanted.model_dump(mode="json", exclude_defaults=True))
    return f"{PATH}?{query}" if query else PATH


def _retry_buttons(inbox: Inbox, wanted: EntriesWanted) -> str:
    """Return a button for each kind whose entries can be retried together, if it is selected."""
    buttons = ""
    for kind in TITLES:
        if kind not in RETRIED_TOGETHER or wanted.kind not in (None, kind) or wanted.ignored:
            continue
        entries = inbox.select(Selection(kind, wanted.domain))
        count = sum("retry" in entry.actions for entry in entries)
        if count:
            buttons += RETRY_ALL.format(
                path=PATH,
                kind=kind,
                domain=escape(wanted.domain or ""),
                of_domain=escape(f" of {wanted.domain}" if wanted.domain else ""),
                title=TITLES[kind].lower(),
                count=count,
            )
    return f'<nav class="filters" aria-label="Retry all">{buttons}</nav>' if buttons else ""


def _cut(inbox: Inbox) -> str:
    names = ", ".join(TITLES[kind].lower() for kind in sorted(inbox.cut_kinds))
    if not names:
        return ""
    return f"<p><strong>There are more entries than are shown: {names}.</strong></p>"


def _link_pages(wanted: EntriesWanted, count: int, first: int) -> str:
    links: list[str] = []
    if wanted.page > 1:
        before = wanted.model_copy(update={"page": wanted.page - 1})
        links.append(_link(_list_path(before), "Previous page"))
    if first + wanted.limit < count:
        after = wanted.model_copy(update={"page": wanted.page + 1})
        links.append(_link(_list_path(after), "Next page"))
    return f"<p>{' '.join(links)}</p>" if links else ""


def _render_row(entry: Entry, role: Role) -> tuple[str, ...]:
    """Return the cells of an entry in the list."""
    number = f" ({entry.count})" if entry.count > 1 else ""
    cells = (
        escape(TITLES[entry.kind].removesuffix("s") if entry.kind != "late" else TITLES["late"]),
        _link(_build_entry_path(entry), entry.title) + number + _mark(entry),
        f'<span class="since">{entry.since:%Y-%m-%d %H:%M}</span>',
        "<br>".join(_render_expectation(entry, expectation) for expectation in entry.expectations),
        _render_help(entry),
        _render_links(_list_details(entry)),
    )
    if not role.covers(Role.OPERATOR):
        return cells
    buttons = "".join(_render_button(entry, action) for action in entry.actions_of(role))
    return (*cells, f'<div class="buttons">{buttons}</div>')


def _mark(entry: Entry) -> str:
    if entry.mark is None:
        return ""
    mark = entry.mark
    until = f" until {mark.until:%Y-%m-%d %H:%M}" if mark.until else ""
    return f"<br><em>{escape(f'{mark.state} by {mark.marked_by}{until}: {mark.reason}')}</em>"


def _render_expectation(entry: Entry, each: Expectation) -> str:
    name = escape(cut(each.name, CELL_CHARACTERS))
    if entry.kind == "quarantined" and each.name not in (BALANCE_AUDIT, "delivery"):
        name = _link(build_check_url(entry.asset.split("/"), each.name), each.name)
    text = each.found.removesuffix(f"; SHA-256 {entry.sha256}") if entry.sha256 else each.found
    value = escape(cut(text, REASON_CHARACTERS))
    return f"{name}: expected {escape(cut(each.expected, CELL_CHARACTERS))}, found {value}"


def _render_help(entry: Entry) -> str:
    answer = {True: "<strong>Yes:</strong> ", False: "<strong>No:</strong> ", None: ""}
    return answer[entry.can_retry_help] + escape(entry.advice)


def _list_details(entry: Entry) -> Mapping[str, str]:
    """Return the links of an entry: into the Dagster UI, and to its rows."""
    details: dict[str, str] = {}
    if entry.asset and entry.partition:
        details["partition"] = build_partition_url(entry.asset.split("/"), entry.partition)
    elif entry.asset:
        details["asset"] = f"{build_asset_url(entry.asset.split('/'))}?view=events"
    if entry.run_id:
        details["run"] = build_run_url(entry.run_id)
        details["evidence"] = build_launchpad_url(*EXPORT, export_evidence={"run_id": entry.run_id})
    for table in _find_tables(entry):
        text = "items" if table == work_items.name else table.rpartition("_dead_")[2]
        details[text] = f"{_build_entry_path(entry)}/rows/{quote(table)}"
    return details


def _find_tables(entry: Entry) -> Mapping[str, Sequence[str]]:
    """Return the conditions on the rows of an entry, by table."""
    if entry.group_id:
        ids = ",".join(map(str, entry.capture_ids))
        of_rejects = f"capture_id in ({ids})" if ids else f"run_id={entry.run_id}"
        table = f"table_name={entry.table}"
        return {rejects.name: [of_rejects, table], captures.name: [f"group_id={entry.group_id}"]}
    if entry.items is not None:
        code = entry.items.reason_code
        reason = [f"reason_code={code}"] if code else []
        states = "state in (failed,dead)"
        return {work_items.name: [f"topic={entry.items.topic}", states, *reason]}
    if entry.kind == "dead_letter":
        return {entry.table: [f"reason_code={entry.category}"]}
    return {}


def _render_button(entry: Entry, action: str) -> str:
    """Return the button of an action without fields, or the link to the form of another."""
    if action in IN_A_ROW or action in ("close", "restore"):
        path = escape(_build_entry_path(entry))
        return BUTTON.format(path=path, action=action, label=LABELS[action])
    path = escape(f"{_build_entry_path(entry)}#{action}")
    return f'<a class="action" href="{path}">{LABELS[action]}</a>'


def _build_entry_path(entry: Entry) -> str:
    return f"{PATH}/{entry.entry_id}"


def _render_entry(entry: Entry, role: Role, fields: Mapping[str, str]) -> str:
    facts = [
        ("Since", f"{entry.since:%Y-%m-%d %H:%M:%S}"),
        ("Latest", f"{entry.latest_at:%Y-%m-%d %H:%M:%S}"),
        ("Domain", escape(entry.domain)),
        ("Count", str(entry.count)),
        (
            "Expected and found",
            "<br>".join(_render_expectation(entry, e) for e in entry.expectations),
        ),
        ("Error category", escape(entry.category)),
        ("Does a retry help?", _render_help(entry)),
        ("SHA-256", f"<code>{escape(entry.sha256)}</code>" if entry.sha256 else ""),
        ("Mark", _mark(entry).removeprefix("<br>")),
        ("Details", _render_links(_list_details(entry))),
    ]
    text = render_table(("Fact", "Value"), [fact for fact in facts if fact[1]])
    previews = "".join(
        f"<h3>{escape(table.title)}</h3>"
        + (
            render_table(
                map(escape, table.headings),
                [[escape(cut(cell, CELL_CHARACTERS)) for cell in row] for row in table.rows],
            )
            if table.rows
            else "<p>None.</p>"
        )
        for table in entry.preview
    )
    preview = f"<h2>Preview</h2>{previews}" if previews else ""
    forms = "".join(_render_form(entry, action, fields) for action in entry.actions_of(role))
    actions = f'<h2>Actions</h2><div class="actions">{forms}</div>' if forms else ""
    return _link_back() + f"<h2>Facts</h2>{text}" + preview + actions + _link_back()


def _render_form(entry: Entry, action: str, fields: Mapping[str, str]) -> str:
    values = fields if fields.get("action") == action else {}
    key = f"accept_{entry.kind}" if action == "accept" and entry.kind == "proposal" else action
    inner = f"<p>{escape(EXPLAINED[key])}</p>"
    if action in WITH_REASON:
        reason = escape(values.get("reason", ""))
        inner += REASON.format(value=reason, most=MAX_REASON_CHARACTERS)
    if action in WITH_END and key != "accept_proposal":
        inner += UNTIL.format(value=escape(values.get("until") or _propose_end(action)))
    return ACTION.format(
        action=action, label=LABELS[action], path=escape(_build_entry_path(entry)), fields=inner
    )


def _propose_end(action: str) -> str:
    """Return the end that a form proposes."""
    lasts = ACCEPTED_FOR if action == "accept" else IGNORED_FOR
    return f"{Clock().now() + lasts:%Y-%m-%dT%H:%MZ}"


def _render_rows(entry: Entry, name: str, page: RowPage) -> str:
    table = _render_row_tables(page) if page.rows else "<p><strong>No rows.</strong></p>"
    following = ""
    if page.next_cursor is not None:
        query = urlencode({"cursor": page.next_cursor})
        path = f"{_build_entry_path(entry)}/rows/{quote(name)}?{query}"
        following = f"<p>{_link(path, 'Next page')}</p>"
    back = f"<p>{_link(_build_entry_path(entry), 'Back to the entry')}</p>"
    return f'{back}<div class="wide">{table}</div>{following}{_link_back()}'


def _render_row_tables(page: RowPage) -> str:
    """Return rows as a table, then the values that all of them share; without empty columns."""
    first, always = page.rows[0], ALWAYS_IN_ROWS if len(page.rows) > 1 else ()
    filled = [
        name for name in page.columns if any(row[name] not in (None, "") for row in page.rows)
    ]
    columns = [
        name
        for name in filled
        if name in always or any(row[name] != first[name] for row in page.rows)
    ]
    facts = [
        (escape(name), _render_cell(name, first[name])) for name in filled if name not in columns
    ]
    rows = [[_render_cell(name, row[name]) for name in columns] for row in page.rows]
    table = render_table(map(escape, columns), rows) if columns else ""
    heading = "The same in all rows" if columns else "Value"
    return table + (render_table(("Column", heading), facts) if facts else "")


def _render_cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if time := TIME.fullmatch(str(value)):
        return f'<span class="since">{time[1]} {time[2]}</span>'
    if column == "sha256":
        return _link(build_capture_path(str(value)), str(value)[:12])
    if column == "run_id":
        return _link(build_run_url(str(value)), str(value)[:8])
    return escape(cut(str(value), CELL_CHARACTERS))


def _render_links(paths: Mapping[str, str]) -> str:
    return ", ".join(_link(path, text) for text, path in paths.items())


def _link(path: str, text: str) -> str:
    return f'<a href="{escape(path)}">{escape(text)}</a>'
