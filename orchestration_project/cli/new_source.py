"""`new-source`: propose the declaration of a source from one answer or file, and load it."""

import subprocess
import sys
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, preview, show_rows
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestration_project.engine.own.proposing import Proposal
    from orchestration_project.engine.own.writing import RequestOptions

HEADINGS = {
    "name": "column",
    "kind": "type",
    "in_key": "key",
    "is_optional": "optional",
    "source": "in the source",
    "example": "example",
}


@click.command(cls=Command, has_dry_run=True, is_load=True)
@click.argument("name")
@click.option("--url", metavar="URL", help="Address of an answer, which names a day if it can.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file of the source, whose name has a day if it can.",
)
@click.option(
    "--secret-header",
    "secret_headers",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="Header whose value an environment variable has. Repeatable.",
)
@click.option("--bearer", metavar="VARIABLE", help="Environment variable of a bearer token.")
@click.option(
    "--cursor", metavar="PARAMETER=PATH", help="Query parameter, and path of the next cursor."
)
@click.option("--page-size", type=click.IntRange(1), help="Records of a page, asked by number.")
@click.option("--yaml", "is_yaml", is_flag=True, help="Write a defs.yaml in place of a source.py.")
def new_source(
    name: str,
    url: str | None,
    file: Path | None,
    secret_headers: tuple[str, ...],
    bearer: str | None,
    cursor: str | None,
    page_size: int | None,
    is_yaml: bool,
) -> int:
    """Write defs/NAME/source.py from one answer of --url or from --file, and load its partition.

    Names, types, key, partitions and checks are proposed from the records, and shown. Formats are
    CSV, JSON, NDJSON, XLSX and Parquet, also in gzip or zip. Correct the file: a sample does not
    have the meaning of its fields.
    """
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.own.fields import NAME
    from orchestration_project.engine.own.proposing import propose
    from orchestration_project.engine.own.writing import RequestOptions, render_source, render_yaml
    from orchestration_project.settings import require_project_folder

    if (url is None) == (file is None):
        raise click.UsageError("give --url or --file")
    if not NAME.fullmatch(name) or iskeyword(name):
        raise click.UsageError(f"{name!r} is not a name of small letters, digits and _")
    folder = require_project_folder() / "defs" / name
    path = folder / ("defs.yaml" if is_yaml else "source.py")
    if folder.exists() and {"defs.yaml", "source.py"} & {file.name for file in folder.iterdir()}:
        raise ConfigurationError(
            f"the source {name} exists",
            expected="a new name",
            found=str(folder),
            remedy="choose another name, or edit the file",
        )
    options = RequestOptions(
        secret_headers=dict(map(_parse_pair, secret_headers)),
        bearer=bearer or "",
        cursor=_parse_pair(cursor) if cursor else None,
        page_size=page_size or 0,
    )
    body = _answer(url, options) if url else _read_content(file)
    proposal = propose(body, url or str(file), today=Clock().today("UTC"))
    write = render_yaml if is_yaml else render_source
    text = write(name, proposal, options, is_file=url is None)
    if OUTPUT.is_dry_run:
        preview(f"would write {path}:\n\n{text}", file=str(path), content=text)
        return 0
    _show(proposal)
    if proposal.paging_hint and not (cursor or page_size):
        echo(f"further pages? declare paging={proposal.paging_hint}, or only this one is loaded")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    echo(f"\nwrote {path}\n")
    for arguments in (["schema", "apply"], ["load", name, proposal.day.isoformat()]):
        completed_process = subprocess.run(  # noqa: S603 - this program, which reads the new file
            [sys.executable, "-m", "orchestration_project", *arguments], check=False
        )
        if completed_process.returncode:
            return completed_process.returncode
    return 0


def _parse_pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise click.UsageError(f"expected NAME=VALUE, found {text!r}")
    return name, value


def _read_content(file: Path | None) -> bytes:
    assert file is not None  # noqa: S101 - one of both is given
    return file.read_bytes()


def _answer(url: str, options: "RequestOptions") -> bytes:
    """Return an answer of the source; nothing is stored.

    Raises:
        SourceError: It is a refusal.
        TransientError: The source does not answer.
    """
    from orchestration_project.engine.document_source import build_status_error
    from orchestration_project.engine.environment import open_client
    from orchestration_project.engine.http import AnswerLimits, BreakerPolicy
    from orchestration_project.resources.own import secret
    from orchestration_project.settings import load_settings

    headers = {header: secret(variable) for header, variable in options.secret_headers.items()}
    if options.bearer:
        headers["Authorization"] = f"Bearer {secret(options.bearer)}"
    with open_client(
        load_settings(),
        "new_source",
        requests_per_second=2,
        breaker=BreakerPolicy(ignores_breaker=True),
        limits=AnswerLimits(accepts_encodings=True),
    ) as http:
        response = http.request("GET", url, headers=headers)
    if response.status != 200:
        raise build_status_error("the new source", response)
    return response.body


def _show(proposal: "Proposal") -> None:
    echo(f"{proposal.record_count} records in {proposal.format}\n")
    rows = [{**vars(field), "in_key": field.name in proposal.key} for field in proposal.fields]
    show_rows([_render_row(row) for row in rows], HEADINGS)
    text = f"the field {proposal.day_field}" if proposal.day_field else proposal.address
    echo(f"\npartitions: days since {proposal.day}, of {text}")
    echo("checks: at least 1 row, at least half of the usual rows")


def _render_row(row: dict[str, object]) -> dict[str, object]:
    """Return a row whose truths are a word or blank."""
    words = {name: ("yes" if row[name] else "") for name in ("in_key", "is_optional")}
    return {**row, **words, "example": str(row["example"])[:30]}
