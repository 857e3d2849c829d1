"""The page of logs: the keys of a line in JSON."""

from orchestration_project.instance.logs import LOG_KEYS
from reference_pages.markdown import code, page, section, table


def write() -> str:
    """Return the page."""
    rows = [(code(name), about) for name, about in LOG_KEYS.items()]
    return page("logs", [section("Keys of a line in JSON", table(("key", "meaning"), rows))])
