"""`items list`: work items, with state, attempts and the reason of the latest failure."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import get_args

from orchestration_project.cli.console import echo
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.work_items import ItemState, WorkItem
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.settings import load_settings

PAGE = 500


def main(arguments: Sequence[str]) -> int:
    """List items; return 0."""
    options = _parser().parse_args(arguments)
    with open_warehouse(load_settings()) as warehouse:
        items = _items(WorkItems(warehouse, Clock()), options.topic, options.state)
        lines = map(_line, islice(items, options.limit))
        if first := next(lines, ""):
            echo(first)
        for line in lines:
            echo(line)
        if next(items, None) is not None:
            sys.stderr.write(f"there are more than {options.limit}: raise --limit\n")
        elif not first:
            sys.stderr.write(f"no work items{_conditions(options)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project items",
        description="List work items, such as webhook deliveries, in the order of topic and key.",
    )
    parser.add_argument("what", choices=["list"], help="list: a line for each item")
    parser.add_argument("--topic", help="items of this topic, such as webhooks/github (all)")
    parser.add_argument("--state", choices=get_args(ItemState), help="items in this state (all)")
    parser.add_argument(
        "--limit", type=_count, default=100, metavar="N", help="number of items (%(default)s)"
    )
    return parser


def _conditions(options: argparse.Namespace) -> str:
    """Return the options that select items, for a message."""
    given = {"--topic": options.topic, "--state": options.state}
    chosen = " ".join(f"{name} {value}" for name, value in given.items() if value)
    return f" with {_printable(chosen)}" if chosen else ""


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"invalid count {text!r}: expected 1 or more, e.g. 100")
    return int(text)


def _items(items: WorkItems, topic: str | None, state: ItemState | None) -> Iterator[WorkItem]:
    """Yield the items, read a page at a time."""
    after: tuple[str, str] | None = None
    while page := items.list_items(topic=topic, state=state, after=after, limit=PAGE):
        yield from page
        after = page[-1].topic, page[-1].item_key


def _line(item: WorkItem) -> str:
    """Return topic, key, state and attempts, and what is known of the latest failure."""
    parts = [item.topic, item.item_key, item.state]
    parts.append(f"{item.attempt_count} of {item.allowed_count} attempts")
    if item.state == "failed":
        parts.append(f"due {item.due_at:%Y-%m-%d %H:%M:%S} UTC")
    if item.lease_holder:
        parts.append(f"run {item.lease_holder}")
    if item.reason:
        parts.append(f"{item.reason_code}: {item.reason}")
    return _printable("  ".join(parts))


def _printable(text: str) -> str:
    """Return ``text`` in one line, without what a terminal would take for a command."""
    return "".join(each if each.isprintable() else " " for each in text)
