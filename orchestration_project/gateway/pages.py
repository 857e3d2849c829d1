"""The gateway's own pages: plain HTML that works without JavaScript."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from starlette.responses import HTMLResponse

from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.gateway.bar import Installation, with_bar
from orchestration_project.gateway.request import Refusal

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; min-height: 100vh; margin: 0; place-items: center; background: #f4f5f7;
  color: #16181d; }
main { box-sizing: border-box; width: min(26rem, 92vw); padding: 2rem; border-radius: 12px;
  background: #fff; box-shadow: 0 1px 3px #0003; }
h1 { margin: 0 0 1rem; font-size: 1.25rem; }
label { display: block; font-weight: 600; }
input[type=password] { box-sizing: border-box; width: 100%; margin: .25rem 0; padding: .6rem;
  border: 1px solid #767b87; border-radius: 6px; font: inherit; }
button, .button { display: block; box-sizing: border-box; width: 100%; margin-top: 1rem;
  padding: .6rem; border: 0; border-radius: 6px; background: #2a3fd0; color: #fff; font: inherit;
  font-weight: 600; text-align: center; text-decoration: none; cursor: pointer; }
.second { background: #fff; color: #2a3fd0; box-shadow: inset 0 0 0 1px #2a3fd0; }
:focus-visible { outline: 3px solid #2a3fd0; outline-offset: 2px; }
input[aria-invalid] { border-color: #b3261e; }
[role=alert] { padding: .6rem .8rem; border-left: 4px solid #b3261e; background: #fdeceb;
  color: #601410; }
.hint { color: #50555f; font-size: .9rem; }
@media (prefers-color-scheme: dark) {
  body { background: #101216; color: #eceef2; }
  main { background: #1b1e25; }
  input[type=password] { background: #101216; color: inherit; }
  .second { background: #1b1e25; color: #aab4ff; box-shadow: inset 0 0 0 1px #aab4ff; }
  .hint { color: #b4b9c4; }
  :focus-visible { outline-color: #aab4ff; }
  [role=alert] { background: #3a1614; color: #ffdad6; border-color: #ff8a80; }
}
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - orchestration_project</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

LOGIN = """<p class="hint">Installation <strong>{name}</strong>, {data}</p>
<form method="post" action="/login">
{alert}<label for="key">Key</label>
<input id="key" name="key" type="password" required autofocus autocomplete="current-password"
  spellcheck="false" aria-describedby="{described}"{invalid}>
<p class="hint" id="hint">It begins with op_. On the machine that runs this,
<code>orchestrate keys create</code> makes one.</p>
<input type="hidden" name="next" value="{next}">
<button type="submit">Log in</button>
</form>{provider}"""

PROVIDER = """
<a class="button second" href="/auth/oidc/login?next={next}">Log in with your organisation</a>"""

SESSION = """<p>You are <strong>{name}</strong>, with the role <strong>{role}</strong>.</p>
<a class="button" href="/">To Dagster</a>
<a class="button second" href="/api/v1/docs">API documentation</a>
<form method="post" action="/logout">
<button class="second" type="submit">Log out</button>
<button class="second" type="submit" name="everywhere" value="yes">Log out everywhere</button>
</form>"""

API_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 3rem; }
section { margin: 2rem 0; border-top: 1px solid #8888; scroll-margin-top: 1rem; }
section:target h3 { background: #ffd54a; color: #16181d; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #8884; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { overflow-wrap: normal; }
pre { overflow-x: auto; padding: .6rem; border-radius: 6px; background: #8882; }
code { font: .9em ui-monospace, monospace; }
"""

API_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API - {title}</title>
<style>{style}</style>
</head>
<body>
<h1>API of {title}</h1>
<p>{description}</p>
<p>The same for programs: <a href="{path}/openapi.json">openapi.json</a>. The examples use two
variables of the shell; capital letters stand for values of yours:</p>
<pre>key='X-API-Key: op_…' api={origin}{path}</pre>
{contents}
{operations}
<h2>Models</h2>
{models}
</body>
</html>
"""

TABLE_STYLE = f"""{API_STYLE}
body {{ max-width: none; padding: 0; }}
main {{ max-width: 64rem; margin: 0 auto; padding: 1rem; }}
label {{ display: block; margin: .5rem 0; }}
input {{ display: block; box-sizing: border-box; width: min(30rem, 100%); font: inherit; }}
"""

TABLE_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{explanation}</p>
{content}
<p><a href="/">To Dagster</a></p>
</main>
</body>
</html>
"""

REF = "#/components/schemas/"


def login_page(
    installation: Installation,
    *,
    wanted: str,
    has_provider: bool,
    problem: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Return the form that requests a key; ``wanted`` is where it leads to."""
    content = LOGIN.format(
        name=escape(installation.name),
        data=escape(installation.data),
        alert=_render_alert(problem) if problem else "",
        described="problem hint" if problem else "hint",
        invalid=' aria-invalid="true"' if problem else "",
        next=escape(wanted, quote=True),
        provider=PROVIDER.format(next=quote(wanted, safe="")) if has_provider else "",
    )
    return _render_page("Log in", content, status, headers)


def problem_page(refusal: Refusal) -> HTMLResponse:
    """Return the page that says why nothing can be shown."""
    return _render_page("Not now", _render_alert(refusal.text), refusal.status, refusal.headers)


def _render_alert(problem: str) -> str:
    return f'<p role="alert" id="problem">{escape(problem)}</p>\n'


def session_page(user: Principal) -> HTMLResponse:
    """Return the page that says who is logged in, and lets them out."""
    return _render_page(
        "Your session", SESSION.format(name=escape(user.name), role=user.role.value)
    )


def _render_page(
    title: str, content: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    body = PAGE.format(title=title, style=STYLE, content=content)
    return HTMLResponse(body, status, headers={**_build_headers(STYLE), **(headers or {})})


def _build_headers(style: str, others: str = "") -> dict[str, str]:
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src {others}'sha256-{digest}'; form-action 'self'"
    return {"content-security-policy": policy, "cache-control": "no-store"}


def table_page(
    title: str,
    explanation: str,
    headings: Iterable[str],
    rows: Sequence[Iterable[str]],
    installation: Installation,
    user: Principal,
) -> HTMLResponse:
    """Return a page with a table under the bar; the cells are HTML."""
    return tables_page(title, explanation, [("", headings, rows)], installation, user)


def tables_page(
    title: str,
    explanation: str,
    tables: Iterable[tuple[str, Iterable[str], Sequence[Iterable[str]]]],
    installation: Installation,
    user: Principal,
    *,
    form: str = "",
    status: int = 200,
) -> HTMLResponse:
    """Return a page with tables under the bar: title, headings and rows.

    The cells are HTML, and so is ``form``, which comes below the tables.
    """
    content = "".join(
        (f"<h2>{escape(name)}</h2>" if name else "")
        + (render_table(headings, rows) if rows else "<p><strong>No entries.</strong></p>")
        for name, headings, rows in tables
    )
    return framed_page(title, explanation, content + form, installation, user, status=status)


def framed_page(
    title: str,
    explanation: str,
    content: str,
    installation: Installation,
    user: Principal,
    *,
    status: int = 200,
    style: str = TABLE_STYLE,
) -> HTMLResponse:
    """Return a page under the bar; ``content`` is HTML."""
    page = TABLE_PAGE.format(
        title=escape(title), explanation=escape(explanation), style=style, content=content
    )
    headers = _build_headers(style, "'self' ")  # the bar's style is a file of this host
    return HTMLResponse(with_bar(page, installation, user), status, headers=headers)


def api_page(document: Mapping[str, Any], origin: str) -> HTMLResponse:
    """Return the documentation of an API, rendered from its OpenAPI document.

    Args:
        document: The document; each operation has an id, a summary, a description and one tag.
        origin: Scheme and host at which the API is served.
    """
    operation_rows = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    operation_rows.sort(key=lambda each: (each[2]["tags"], each[1], each[0]))
    schemas = document["components"]["schemas"]
    rows = [
        (f"<code>{method} {escape(path)}</code>", _link(item["operationId"], item["summary"]))
        for method, path, item in operation_rows
    ]
    body = API_PAGE.format(
        title=escape(document["info"]["title"]),
        description=escape(document["info"]["description"]),
        style=API_STYLE,
        path=document["servers"][0]["url"],
        origin=escape(origin),
        contents=render_table(("Operation", "Summary"), rows),
        operations="\n".join(_render_operation(*row, schemas) for row in operation_rows),
        models="\n".join(_render_model(name, item) for name, item in sorted(schemas.items())),
    )
    return HTMLResponse(body, headers=_build_headers(API_STYLE))


def _render_operation(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> str:
    parameters = operation["parameters"]
    body = _find_body(operation, schemas)
    rows = [_render_parameter(parameter, parameter["in"]) for parameter in parameters]
    rows += _render_fields(body, "body") if body else []
    headings = ("Name", "In", "Type", "Description")
    problems = [status for status in operation["responses"] if int(status) >= 400]
    return (
        f'<section id="{escape(operation["operationId"])}">\n'
        f"<h3><code>{method} {escape(path)}</code></h3>\n"
        f"<p>{escape(operation['description'])}</p>\n"
        f"{render_table(headings, rows) if rows else ''}"
        f"<pre>{escape(_render_example(method, path, parameters, body))}</pre>\n"
        f"<p>{_answer(operation)}. Problems: {', '.join(problems)}, "
        f"each a {_link('Problem', 'Problem')}.</p>\n</section>"
    )


def _find_body(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if "requestBody" not in operation:
        return {}
    [content] = operation["requestBody"]["content"].values()
    reference = content["schema"].get("$ref")  # bytes of a file have none
    return schemas[reference.removeprefix(REF)] if reference else {}


def _answer(operation: Mapping[str, Any]) -> str:
    [(status, response)] = [
        (status, value) for status, value in operation["responses"].items() if int(status) < 400
    ]
    forms = [
        _render_type(value["schema"])
        if "$ref" in value["schema"]
        else f"<code>{escape(media)}</code>"
        for media, value in response["content"].items()
    ]
    return f"Answers {status}" + (f" with {' or '.join(forms)}" if forms else "")


def _render_model(name: str, schema: Mapping[str, Any]) -> str:
    rows = [(field[0], *field[2:]) for field in _render_fields(schema, "")]
    return (
        f'<section id="{escape(name)}">\n<h3>{escape(name)}</h3>\n'
        f"<p>{escape(schema.get('description', ''))}</p>\n"
        f"{render_table(('Field', 'Type', 'Description'), rows)}</section>"
    )


def _render_fields(schema: Mapping[str, Any], place: str) -> list[tuple[str, ...]]:
    required = schema.get("required", ())
    return [
        _render_parameter(
            {"name": name, "required": name in required, "schema": character, **character}, place
        )
        for name, character in schema.get("properties", {}).items()
    ]


def _render_parameter(given: Mapping[str, Any], place: str) -> tuple[str, ...]:
    schema = given["schema"]
    default = schema.get("default")
    notes = [escape(given.get("description", ""))]
    if given["required"] and place:
        notes.append("<strong>required</strong>")
    if default not in (None, [], {}):
        notes.append(f"default <code>{escape(json.dumps(default))}</code>")
    return (
        f"<code>{escape(given['name'])}</code>",
        place,
        _render_type(schema) + _render_bounds(schema),
        "; ".join(note for note in notes if note),
    )


def _render_type(schema: Mapping[str, Any]) -> str:
    """Return a schema in words, with links to models; the null of an optional value left out."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return _link(name, name)
    if "anyOf" in schema:
        forms = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(map(_render_type, forms))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_render_type(schema.get('items', {}))}"
    return escape(schema.get("format") or schema.get("type", "any JSON"))


def _render_bounds(schema: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
        "maxItems": "at most",
    }
    names = [f"{word} {schema[name]}" for name, word in words.items() if name in schema]
    return f" ({', '.join(names)})" if names else ""


def _render_example(
    method: str, path: str, parameters: Iterable[Mapping[str, Any]], body: Mapping[str, Any]
) -> str:
    """Return a command that asks with all that is required; capitals stand for values."""
    query = []
    for parameter in parameters:
        value = _choose_value(parameter["name"], parameter["schema"])
        path = path.replace(f"{{{parameter['name']}}}", str(value))
        if parameter["in"] == "query" and parameter["required"]:
            query.append(f"{parameter['name']}={value}")
    url = f'"$api{path}{"?" if query else ""}{"&".join(query)}"'
    if method == "GET":
        return f'curl -H "$key" {url}'
    if method == "DELETE":
        return f'curl -X DELETE -H "$key" {url}'
    if method == "PUT":
        return f'curl -X PUT -H "$key" {url} --data-binary @FILE'
    required = {
        name: _choose_value(name, body["properties"][name]) for name in body.get("required", ())
    }
    content = body.get("examples", [required])[0]
    sent = f" \\\n  -H 'Content-Type: application/json' -d '{json.dumps(content)}'"
    return f'curl -X POST -H "$key" {url}{sent if body else ""}'


def _choose_value(name: str, schema: Mapping[str, Any]) -> Any:
    """Return a value that the schema allows; a text without example is its name in capitals."""
    if "enum" in schema or "examples" in schema:
        return [*schema.get("enum", ()), *schema.get("examples", ())][0]
    of_format = {"date": "2025-01-10", "date-time": "2025-01-10T00:00:00Z"}
    of_type = {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}
    return of_format.get(schema.get("format", "")) or of_type.get(
        schema.get("type", ""), name.upper()
    )


def render_table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, name: str = "") -> str:
    """Return a table; the cells are HTML, and ``name`` is its class."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    lines = ("".join(f"<td>{text}</td>" for text in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    named = f' class="{escape(name)}"' if name else ""
    return f"<table{named}>\n<tr>{head}</tr>\n{body}</table>\n"


def _link(target: str, text: str) -> str:
    return f'<a href="#{escape(target)}">{escape(text)}</a>'
