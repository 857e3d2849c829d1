"""The page of logs: the keys of a line in JSON."""

from orchestration_project.instance.logs import LOG_EVENTS, LOG_KEYS
from tools.reference_pages.markdown import code, page, section, table


def write() -> str:
    """Return the page."""
    keys = [(code(name), about) for name, about in LOG_KEYS.items()]
    events = [(code(name), about) for name, about in sorted(LOG_EVENTS.items())]
    return page(
        "logs",
        [
            section("Keys of a line in JSON", table(("key", "meaning"), keys)),
            section("Events", table(("event", "meaning"), events)),
        ],
    )
