"""The gateway's own pages: plain HTML that works without JavaScript."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from starlette.responses import HTMLResponse

from orchestration_project.domains.access.roles import Principal
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

STYLE_HASH = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'"

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

LOGIN = """<form method="post" action="/login">
{alert}<label for="key">Key</label>
<input id="key" name="key" type="password" required autofocus autocomplete="current-password"
  spellcheck="false" aria-describedby="{described}"{invalid}>
<p class="hint" id="hint">It begins with op_. On the machine that runs this,
<code>python -m orchestration_project keys create</code> makes one.</p>
<input type="hidden" name="next" value="{next}">
<button type="submit">Log in</button>
</form>{provider}"""

PROVIDER = """
<a class="button second" href="/auth/oidc/login?next={next}">Log in with your organisation</a>"""

SESSION = """<p>You are <strong>{name}</strong>, with the role <strong>{role}</strong>.</p>
<a class="button" href="/">To Dagster</a>
<form method="post" action="/logout">
<button class="second" type="submit">Log out</button>
<button class="second" type="submit" name="everywhere" value="yes">Log out everywhere</button>
</form>"""


def login_page(
    *,
    wanted: str,
    has_provider: bool,
    problem: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Return the form that asks for a key; ``wanted`` is where it leads to."""
    content = LOGIN.format(
        alert=_alert(problem) if problem else "",
        described="problem hint" if problem else "hint",
        invalid=' aria-invalid="true"' if problem else "",
        next=escape(wanted, quote=True),
        provider=PROVIDER.format(next=quote(wanted, safe="")) if has_provider else "",
    )
    return _page("Log in", content, status, headers)


def problem_page(refusal: Refusal) -> HTMLResponse:
    """Return the page that says why nothing can be shown."""
    return _page("Not now", _alert(refusal.text), refusal.status, refusal.headers)


def _alert(problem: str) -> str:
    return f'<p role="alert" id="problem">{escape(problem)}</p>\n'


def session_page(user: Principal) -> HTMLResponse:
    """Return the page that says who is logged in, and lets them out."""
    return _page("Your session", SESSION.format(name=escape(user.name), role=user.role.value))


def _page(
    title: str, content: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    body = PAGE.format(title=title, style=STYLE, content=content)
    own = {"content-security-policy": POLICY, "cache-control": "no-store"}
    return HTMLResponse(body, status, headers={**own, **(headers or {})})
