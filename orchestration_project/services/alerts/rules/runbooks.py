"""Runbooks: the page of each kind of alert, to which its messages link."""

from dataclasses import replace

from orchestration_project.services.alerts.rules.decisions import KINDS
from orchestration_project.services.alerts.rules.messages import Message

RUNBOOKS = "docs/how-to/runbooks"
"""Folder of the pages in the checkout."""


def name_page(kind: str) -> str:
    """Return the name of the page of a kind of alert, such as host-silent."""
    return kind.replace("_", "-")


def find_link(kind: str, docs_url: str | None = None) -> str | None:
    """Return where the page of a kind of alert is; None: the kind is an asset's own.

    Args:
        kind: One of `KINDS`.
        docs_url: Base URL of the built documentation site. None: the path in the checkout.
    """
    if kind not in KINDS:
        return None
    if docs_url is None:
        return f"{RUNBOOKS}/{name_page(kind)}.md"
    return f"{docs_url.rstrip('/')}/how-to/runbooks/{name_page(kind)}.html"


def add_runbook(message: Message, docs_url: str | None = None) -> Message:
    """Return a message whose last line links the runbook of its kind, if it has one."""
    link = find_link(message.kind, docs_url)
    return message if link is None else replace(message, body=f"{message.body}\nRunbook: {link}")
