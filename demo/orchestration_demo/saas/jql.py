"""As much of JQL as integrations ask for: clauses with AND between them, and an order."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestration_demo.saas.issues import Issue
from orchestration_demo.saas.projects import CATEGORIES, STATUSES

CLAUSE = re.compile(
    r"(?P<field>[^\s=!<>]+)\s*(?P<operator>=|!=|>=|<=|>|<|\bin\b)\s*(?P<value>.+)", re.I
)
VALUE = re.compile(r'"([^"]*)"|([\w.:@-]+)')
BOUNDS = {">=": datetime.__ge__, "<=": datetime.__le__, ">": datetime.__gt__, "<": datetime.__lt__}

TEXTS: dict[str, Callable[[Issue], Sequence[str]]] = {
    "project": lambda issue: (issue.project.key,),
    "key": lambda issue: (issue.key,),
    "issuekey": lambda issue: (issue.key,),
    "labels": lambda issue: issue.values.get("labels") or (),
    "status": lambda issue: (issue.status,),
    "statuscategory": lambda issue: (str(CATEGORIES[STATUSES[issue.status]]["name"]),),
}
TIMES: dict[str, Callable[[Issue], datetime]] = {
    "updated": lambda issue: issue.updated_at,
    "created": lambda issue: issue.created_at,
}
ORDERS: dict[str, Callable[[Issue], Any]] = {
    **TIMES,
    "key": lambda issue: (issue.project.key, int(issue.key.rpartition("-")[2])),
}


class JqlError(Exception):
    """A query that Jira refuses, as it says so."""


def search(issues: Sequence[Issue], jql: str) -> list[Issue]:
    """Return the issues that ``jql`` requests, in its order.

    Raises:
        JqlError: It is malformed, or bounds nothing.
    """
    text, *order = re.split(r"\border\s+by\b", jql, maxsplit=1, flags=re.I)
    clauses = [each.strip() for each in re.split(r"\s+and\s+", text, flags=re.I)]
    tests = [_test(each) for each in clauses if each]
    if not tests:
        raise JqlError(
            "Unbounded JQL queries are not allowed here. Please add a search restriction to your "
            "query."
        )
    found = [issue for issue in issues if all(test(issue) for test in tests)]
    for named in reversed((order or ["created desc"])[0].split(",")):
        name, *direction = named.split() or [""]
        if name.lower() not in ORDERS:
            raise JqlError(f"Not able to sort using field '{name}'.")
        is_down = [each.lower() for each in direction] == ["desc"]
        found.sort(key=ORDERS[name.lower()], reverse=is_down)
    return found


def _test(clause: str) -> Callable[[Issue], bool]:
    parts = CLAUSE.fullmatch(clause)
    if parts is None:
        raise JqlError(f"Error in the JQL Query: Expecting operator after '{clause}'.")
    name, operator = parts["field"].lower(), parts["operator"].lower()
    values = [quoted or plain for quoted, plain in VALUE.findall(parts["value"])]
    if not values:
        raise JqlError(f"Error in the JQL Query: Expecting a value in '{clause}'.")
    if name in TIMES and operator in BOUNDS:
        return _time_test(name, operator, values[0])
    if name not in TEXTS or operator not in ("=", "in", "!="):
        # So it is of entity properties, unless an app has them indexed.
        raise JqlError(f"Field '{parts['field']}' does not exist or you do not have permission.")
    read, wanted = TEXTS[name], {each.lower() for each in values}
    is_negated = operator == "!="
    return lambda issue: any(each.lower() in wanted for each in read(issue)) is not is_negated


def _time_test(name: str, operator: str, text: str) -> Callable[[Issue], bool]:
    try:
        bound = datetime.fromisoformat(text.replace("/", "-")).replace(tzinfo=UTC)
    except ValueError:
        raise JqlError(f"Date value '{text}' for field '{name}' is invalid.") from None
    read, compare = TIMES[name], BOUNDS[operator]
    return lambda issue: compare(read(issue), bound)
