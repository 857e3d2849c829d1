"""The command that erases a person or document."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit_or, note, preview, progress
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    import dagster as dg

    from orchestration_project.services.erasure.requests import ErasureRequests

JOB, OP = "operations_erase", "erase_subject"

FIGURES = (
    *("rows_deleted", "rows_masked", "captures_deleted", "captures_redacted"),
    *("artifacts_deleted", "files_changed"),
)

MAX_INPUT_BYTES = 2**16


@click.command(cls=Command, has_json=True, has_dry_run=True)
@click.argument("kind", required=False)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    default="-",
    show_default=True,
    help="File with the identifier in its first line, and another text that identifies the "
    "subject, such as its name, in each further line; -: standard input. The process list would "
    "show an argument.",
)
@click.option("--reason", metavar="TEXT", help="Reason, kept for ever.")
@click.option(
    "--only-database",
    is_flag=True,
    help="Confirm that no other database uses the artifact store.",
)
@click.option("--request", metavar="ID", help="Go on with a request that was interrupted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(
    kind: str | None,
    source: str,
    reason: str | None,
    only_database: bool,
    request: str | None,
    yes: bool,
) -> int:
    """Erase a person or document of KIND, such as saas/person, after a dry run and a question.

    Rows, history, captured bytes and logs of runs are erased. Logs of programs expire: the list of
    what is not reached names their last day. operations_erasures records how much, who and why.
    """
    from orchestration_project.catalog import REGISTRY
    from orchestration_project.engine.environment import open_clock, open_warehouse
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.services.erasure.requests import (
        ErasureRequests,
        find_kind,
        read_kinds,
    )
    from orchestration_project.settings import load_settings

    settings = load_settings()
    if request is None and (not kind or not reason):
        raise click.UsageError("expected KIND and --reason, or --request")
    with open_instance() as instance, open_warehouse(settings) as warehouse:
        requests = ErasureRequests(warehouse, open_clock(settings))
        if request is None:
            find_kind(read_kinds(REGISTRY, settings), str(kind))  # the open database has some
            text = requests.add(
                str(kind), _read(source), user_name=getpass.getuser(), reason=str(reason)
            )
        else:
            text = requests.read(request).request_id
        return _erase(instance, requests, text, only_database=only_database, is_confirmed=yes)


def _erase(
    instance: "dg.DagsterInstance",
    requests: "ErasureRequests",
    request_id: str,
    *,
    only_database: bool,
    is_confirmed: bool,
) -> int:
    config: dict[str, Any] = {"request_id": request_id, "only_database": only_database}
    values = _run(instance, {**config, "dry_run": True})
    if values is None:
        requests.withdraw(request_id)
        return 1
    if OUTPUT.is_dry_run:
        requests.withdraw(request_id)
        preview(
            "\n".join([f"would be erased: {_list_figures(values)}", *_list_places(values)]),
            **values,
        )
        return 0
    progress("\n".join([f"found: {_list_figures(values)}", *_list_places(values)]))
    if not is_confirmed and not _request_consent():
        requests.withdraw(request_id)
        echo("nothing was erased")
        return 1
    erased = _run(instance, {**config, "dry_run": False})
    if erased is None:
        option = " --only-database" if only_database else ""
        note(f"repeat it with `erase --request {request_id}{option}`")
        return 1
    emit_or(
        {"erasure_id": request_id, **erased},
        f"erased as {request_id}: {_list_figures(erased)}",
        *_list_places(erased),
    )
    return 0


def _run(instance: "dg.DagsterInstance", config: dict[str, Any]) -> dict[str, Any] | None:
    """Run the job; return its figures, None if it failed."""
    from orchestration_project.cli.execution import execute, failures, materializations_of

    result = execute(instance, JOB, config={"ops": {OP: {"config": config}}})
    if not result.success:
        emit_or({"failures": failures([result])}, *failures([result]))
        return None
    [metadata] = materializations_of([result]).values()
    figures = {name: metadata[name] for name in FIGURES if name in metadata}
    places = metadata["not_reached"].records if figures else ()
    return {**figures, "not_reached": [str(place.data["place"]) for place in places]}


def _list_places(found: dict[str, Any]) -> list[str]:
    return ["not reached:", *(f"  {place}" for place in found["not_reached"])]


def _list_figures(found: dict[str, Any]) -> str:
    figures = [f"{found[name]} {name.replace('_', ' ')}" for name in FIGURES if found.get(name)]
    return ", ".join(figures) or "nothing"


def _read(source: str) -> list[str]:
    """Return the identifiers of a file, one in each line.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        if source == "-":
            content = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(MAX_INPUT_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "text that is not UTF-8"
        raise ConfigurationError(
            "the identifiers cannot be read",
            expected="a text file in UTF-8 with an identifier in each line",
            found=str(reason),
            remedy="correct --from",
        ) from None  # the error quotes the bytes
    if len(content) > MAX_INPUT_BYTES:
        raise ConfigurationError(
            "the identifiers cannot be read",
            expected=f"{MAX_INPUT_BYTES} bytes or less",
            found="more",
            remedy="correct --from",
        )
    return [line for line in text.split("\n") if line.strip()]


def _request_consent() -> bool:
    try:
        answer = input("Erase all of it? [y/N] ")
    except EOFError:  # standard input is closed, or was read for the identifiers
        return False
    return answer.strip().lower() in ("y", "yes")
