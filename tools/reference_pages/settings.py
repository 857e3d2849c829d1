"""The page of settings, a table for each group."""

from orchestration_project.settings.page import sections
from tools.reference_pages.markdown import page


def write() -> str:
    """Return the page."""
    return page("settings", sections())
