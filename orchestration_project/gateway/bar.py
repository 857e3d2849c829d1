"""Bar above Dagster's pages: installation, data profile, shortcuts, user, role and log-out."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project import release
from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.pauses import Pauses
from orchestration_project.settings import Settings, domains_on

STYLE_PATH = "/bar.css"
STYLE_LINK = f'<link rel="stylesheet" href="{STYLE_PATH}"/>'

ATTENTION = "Attention"
PLUGINS = "Plugins"

SHORTCUTS = {
    "Control tower": "/assets/operations/control_tower?view=events",
    ATTENTION: "/attention",
    "Pauses": "/pauses",
    PLUGINS: "/plugins",
}
"""Pages that operators open most, by the text of their links.

The events of the control tower begin with its verdict; on its overview the columns come first.
"""

PROFILES = {"demo": "demo data", "real": "real data"}

STYLE = """
body:has(#__next) { flex-direction: column; }
#__next { flex: 1 1 0; min-height: 0; }
body #root, body.dagster-mobile #root { height: 100%; }
#installation-bar { flex: none; box-sizing: border-box; display: flex; align-items: center;
  gap: 4px 16px; width: 100%; height: 32px; padding: 0 16px; overflow: hidden;
  background: #16181d; color: #eceef2; font: 13px/1 system-ui, sans-serif; white-space: nowrap; }
#installation-bar nav { display: flex; gap: 16px; flex: 1 1 auto; min-width: 0; overflow: hidden; }
#installation-bar a { color: #c7cdff; text-decoration: none; }
#installation-bar a:hover { text-decoration: underline; }
#installation-bar :focus-visible { outline: 2px solid #fff; outline-offset: -2px; }
#installation-bar .name { overflow: hidden; max-width: 24ch; text-overflow: ellipsis;
  font-weight: 600; }
#installation-bar .demo, #installation-bar .real { padding: 3px 8px; border-radius: 10px;
  background: #ffd54a; color: #16181d; }
#installation-bar .real { background: #b3261e; color: #fff; }
#installation-bar .user { overflow: hidden; max-width: 28ch; text-overflow: ellipsis; }
#installation-bar form { margin: 0; }
#installation-bar button { padding: 4px 10px; border: 1px solid #767b87; border-radius: 6px;
  background: none; color: inherit; font: inherit; cursor: pointer; }
#pause-banner { flex: none; margin: 0; padding: 8px 16px; background: #ffd54a; color: #16181d;
  font: 13px/1.4 system-ui, sans-serif; overflow-wrap: anywhere; }
@media (max-width: 900px) { #installation-bar .name { display: none; } }
@media (max-width: 780px) {
  #installation-bar { padding: 0 8px; }
  #installation-bar, #installation-bar nav { gap: 8px; }
  #installation-bar .profile { display: none; }
}
@media (max-width: 640px) {
  #installation-bar { gap: 8px; padding: 0 8px; }
  #installation-bar nav { display: none; }
  #installation-bar .user { flex: 1 1 auto; max-width: none; }
}
"""

BAR = """<header id="installation-bar">
<span class="name" title="{name}, release {release}">{name}</span>
<span class="profile {profile}">{data}</span>
<nav aria-label="Shortcuts">{shortcuts}</nav>
<a class="user" href="/session" title="{user}, role {role}">{user} ({role})</a>
{log_out}</header>{banner}"""

BANNER = '<p id="pause-banner" role="status">{pauses}</p>'
"""Pauses in effect, below the bar. Dagster's pages show it when they are loaded again."""

LOG_OUT = """<form method="post" action="/logout"><button type="submit">Log out</button></form>
"""


def _count_none() -> int | None:
    """Count nothing, as where no database is known."""
    return None


@dataclass(frozen=True)
class Installation:
    """Name and data of the installation, as people see them.

    Attributes:
        name: Its name.
        profile: Its data profile, demo or real.
        list_pauses: Returns the pauses in effect, in words.
        count_attention: Returns how many entries need a person; None: it is not known.
        has_plugins: Whether it has the domain of plugins.
    """

    name: str
    profile: str
    list_pauses: Callable[[], Sequence[str]] = tuple
    has_plugins: bool = True
    count_attention: Callable[[], int | None] = _count_none

    @property
    def data(self) -> str:
        """The data profile in words."""
        return PROFILES[self.profile]


def installation_of(
    settings: Settings,
    warehouse: Warehouse | None = None,
    count_attention: Callable[[], int | None] = _count_none,
) -> Installation:
    """Return the installation of these settings; unnamed, it has the host of PUBLIC_URL.

    Its pauses are those of ``warehouse``; while that cannot be read, no pause is shown.
    """

    def list_pauses() -> Sequence[str]:
        with suppress(OrchestrationError):
            return [pause.text for pause in Pauses(warehouse).list_in_effect()] if warehouse else ()
        return ()

    name = settings.installation_name or urlsplit(settings.public_url).netloc.rpartition("@")[2]
    has_plugins = "plugins" in domains_on(settings)
    return Installation(name, settings.data_profile, list_pauses, has_plugins, count_attention)


def with_bar(page: str, installation: Installation, user: Principal) -> str:
    """Return a page with the bar above its content; the page itself stays as it is."""
    head, end, text = page.partition("</head>")
    before, body, after = text.partition("<body>")
    if not (end and body):
        raise AssertionError("invalid page: expected a head and a body")
    bar = bar_of(installation, user)
    return f"{head}{STYLE_LINK}</head>{before}<body>{bar}{after}"


def bar_of(installation: Installation, user: Principal) -> str:
    """Return the bar."""
    open_count = installation.count_attention()
    count = f" ({open_count})" if open_count else ""
    return BAR.format(
        name=escape(installation.name),
        release=escape(release()),
        profile=escape(installation.profile),
        data=escape(installation.data),
        shortcuts="".join(
            f'<a href="{escape(path)}">{escape(text)}{count if text == ATTENTION else ""}</a>'
            for text, path in SHORTCUTS.items()
            if installation.has_plugins or text != PLUGINS
        ),
        user=escape(user.name),
        role=escape(user.role.value),
        log_out="" if user.way == "open" else LOG_OUT,
        banner=_render_banner(installation.list_pauses()),
    )


def _render_banner(pauses: Sequence[str]) -> str:
    return BANNER.format(pauses="<br>".join(map(escape, pauses))) if pauses else ""


def style_route() -> Route:
    """Return the route of the bar's style sheet, which Dagster's policy allows from this host."""
    return Route(STYLE_PATH, _serve_style, methods=["GET"])


async def _serve_style(_request: Request) -> Response:
    return Response(STYLE, media_type="text/css", headers={"cache-control": "no-cache"})
