"""`documents timeline`: events of a document in order, and what to do."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit, printable
from orchestration_project.errors import UnknownNameError

if TYPE_CHECKING:
    from orchestration_project.domains.documents.timeline import Timeline

TIME_WIDTH, KIND_WIDTH = 19, 10


@click.command(cls=Command, has_json=True)
@click.argument("name", metavar="PATH|ID")
def timeline(name: str) -> int:
    """Show the events of a loaded document in order, with reasons and remedies.

    PATH is that of its file as the table documents_files has it, ID its document_id.
    """
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.resources.documents.timeline import read_timeline
    from orchestration_project.services.links import build_run_url
    from orchestration_project.settings import load_settings, without_secrets

    settings = load_settings()
    base = without_secrets(settings.public_url).rstrip("/")
    with open_warehouse(settings) as warehouse:
        document_timeline = read_timeline(warehouse, name)
    if document_timeline is None:
        raise UnknownNameError(
            f"invalid PATH|ID {name!r}: expected a path or document_id of the table "
            "documents_files, e.g. reports/2026.pdf",
            remedy="list them: orchestrate export documents_files",
        )
    urls = [
        f"{base}{build_run_url(event.run_id)}" if event.run_id else None
        for event in document_timeline.events
    ]
    if OUTPUT.is_json:
        events = [
            {**asdict(event), "run_url": url}
            for event, url in zip(document_timeline.events, urls, strict=True)
        ]
        emit({**asdict(document_timeline), "events": events})
    else:
        for line in shown(document_timeline, urls):
            echo(line)
    return 0


def shown(found: "Timeline", urls: list[str | None]) -> Iterator[str]:
    """Yield the lines that people read."""
    yield f"document {found.document_id or '-'}: {found.state}"
    yield from (f"  {printable(path)}" for path in found.paths)
    indent = " " * (TIME_WIDTH + KIND_WIDTH + 4)
    for event, url in zip(found.events, urls, strict=True):
        time = f"{event.happened_at:%Y-%m-%d %H:%M:%S}" if event.happened_at else "-"
        code = f" [{event.reason_code}]" if event.reason_code else ""
        yield f"{time:<{TIME_WIDTH}}  {event.kind:<{KIND_WIDTH}}  {printable(event.text)}{code}"
        if event.remedy:
            yield f"{indent}to do: {printable(event.remedy)}"
        if url:
            yield f"{indent}run: {url}"
