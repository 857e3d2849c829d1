"""Plugins that ask the host for more than was granted."""

from typing import Any

from tests.plugins_hostile import HostilePlugin

CLAIM = """
from plugin import start

with start() as run:
    try:
        {claim}
    except Exception:
        pass
    run.emit("verdicts", [("claim", {{"got": "went on"}})])
"""

HOSTS = {"hosts": [{"host": "granted.example", "methods": ["GET"]}]}
READS = {
    "reads": [
        {
            "name": "projects",
            "table": "mqtt_projects",
            "columns": ["project_id", "name"],
            "filters": ["project_id"],
            "max_rows": 10,
        }
    ]
}


def _claim(name: str, claim: str, says: str, **permissions: Any) -> HostilePlugin:
    """Return a plugin whose claim is refused at each isolation level."""
    return HostilePlugin(
        name,
        CLAIM.format(claim=claim),
        namespaces="refused",
        says=says,
        permissions=permissions,
    )


CLAIMS = (
    _claim("other_host", 'run.fetch("https://elsewhere.example/")', "hosts", **HOSTS),
    _claim("no_host", 'run.fetch("https://granted.example/")', "hosts"),
    _claim(
        "other_method", 'run.fetch("https://granted.example/", method="DELETE")', "hosts", **HOSTS
    ),
    _claim("other_scheme", 'run.fetch("http://granted.example/")', "hosts", **HOSTS),
    _claim("other_port", 'run.fetch("https://granted.example:8443/")', "hosts", **HOSTS),
    _claim(
        "user_in_url", 'run.fetch("https://granted.example@elsewhere.example/")', "hosts", **HOSTS
    ),
    _claim("file_url", 'run.fetch("file:///etc/passwd")', "hosts", **HOSTS),
    _claim(
        "other_secret",
        'run.fetch("https://granted.example/", headers={"X-Token": "{{secret:OTHER}}"})',
        "secrets",
        **HOSTS,
    ),
    _claim(
        "secret_elsewhere",
        'run.fetch("https://granted.example/", headers={"X-Token": "{{secret:TOKEN}}"})',
        "secrets",
        hosts=[{"host": "granted.example"}, {"host": "other.example"}],
        secrets=[{"name": "TOKEN", "host": "other.example"}],
    ),
    _claim("other_query", 'run.read("access_keys")', "reads", **READS),
    _claim("no_query", 'run.read("projects")', "reads"),
    _claim("other_filter", 'run.read("projects", name="x")', "reads", **READS),
    _claim(
        "other_table",
        'run.emit("items", [("a", {"got": "x"})])',
        "tables",
    ),
    _claim(
        "other_topic",
        'run.publish("plugins/rss/new", "a", {})',
        "topics",
        topics=["plugins/other_topic/new"],
    ),
    _claim("any_topic", 'run.publish("mqtt/events", "a", {})', "topics"),
    _claim("no_page", 'run.page("svg", "<svg/>")', "pages", pages=["markdown"]),
    _claim("no_action", 'run.act("post_message", "a", url="https://granted.example/")', "actions"),
)
"""Each names the permission that its violation has."""
