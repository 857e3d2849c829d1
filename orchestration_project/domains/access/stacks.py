"""Stacks within texts: a message of Dagster's may quote the whole stack of another error."""

import re

from orchestration_project.domains.access.roles import Role

STACK = re.compile(
    r"(?:^|\n)[ \t|+-]*(?:Stack Trace|Traceback \(most recent call last\)):[ \t]*(?:\n[ \t|].*)*"
)
"""Its heading, and the lines below it that are indented."""


def shown_to(role: Role, text: str) -> str:
    """Return a text without the stacks in it, unless an admin reads it."""
    return text if role.covers(Role.ADMIN) else without_stacks(text)


def without_stacks(text: str) -> str:
    """Return a text without the stacks in it."""
    return STACK.sub("", text)
