"""The page of settings."""

from orchestration_project.settings.page import page as settings_page


def write() -> str:
    """Return the page."""
    return settings_page()
