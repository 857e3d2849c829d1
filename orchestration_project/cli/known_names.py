"""Names of this installation that a shell completes: datasets, partitions, tables, columns, alerts.

They come from declarations, settings, the database, and a file of datasets. No definition is
loaded: a shell waits while the user types.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

DATASETS_FILE = "datasets.json"
"""File of STATE_DIR with the datasets and their partitions, as they were when last listed."""

DEFAULT_TABLE = "finra_otc_weekly"
"""Table of `replay` without `--table`."""

Known = Mapping[str, str]
"""Names, each with what it stands for; that may be empty."""


def store_datasets(keys: Mapping[str, Sequence[str]]) -> None:
    """Store the partition keys of all datasets by name, for completion, if the disk has room."""
    from orchestration_project.engine.connections.files import ensure_state_folder
    from orchestration_project.settings import load_settings

    with suppress(OSError):
        file = ensure_state_folder(load_settings()) / DATASETS_FILE
        text = json.dumps({name: list(key) for name, key in keys.items()})
        if not file.exists() or file.read_text() != text:
            partial = file.with_suffix(".partial")
            partial.write_text(text)
            partial.replace(file)


def _read_datasets() -> Mapping[str, Sequence[str]]:
    from orchestration_project.settings import load_settings

    return json.loads((Path(load_settings().state_path) / DATASETS_FILE).read_text())


def _list_datasets(_: click.Context) -> Known:
    return dict.fromkeys(_read_datasets(), "")


def _find_subject(context: click.Context) -> str:
    """Return the dataset, source or table that a command line names, or the default of `replay`.

    Words that click has not assigned yet, before an option that awaits its value, count too.
    """
    names = [context.params.get(name) for name in ("dataset", "source", "table")]
    return str(next(filter(None, [*names, *context.args]), DEFAULT_TABLE))


def _list_partitions(context: click.Context) -> Known:
    keys = _read_datasets().get(_find_subject(context), ())
    return dict.fromkeys(reversed(keys), "")  # the latest are wanted most


def _list_tables(_: click.Context) -> Known:
    from orchestration_project.tables.catalogue import internal_tables, known_tables

    hidden = internal_tables()
    return {name: "" for name in known_tables() if name not in hidden}


def _list_columns(context: click.Context) -> Known:
    from orchestration_project.tables.catalogue import known_tables

    table = known_tables()[_find_subject(context)]
    return dict.fromkeys(table.columns.keys(), "")


def _list_domains(_: click.Context) -> Known:
    from orchestration_project.settings.chosen import known_datasets, known_domains

    return dict.fromkeys([*known_domains(), *known_datasets()], "")


def _list_sources(_: click.Context) -> Known:
    from orchestration_project.settings.project import own_files

    return {file.parent.name: "" for file in own_files()}


def _list_alerts(_: click.Context) -> Known:
    from orchestration_project.services.alerts import build_alerts
    from orchestration_project.settings import load_settings

    with build_alerts(load_settings(), lambda _: []).inbox() as inbox:
        return {alert.alert_id: alert.title for alert in inbox.standing()}


READERS: Mapping[tuple[str, str | None], Callable[[click.Context], Known]] = {
    ("dataset", None): _list_datasets,
    ("partitions", "[PARTITION]..."): _list_partitions,
    ("partition", None): _list_partitions,
    ("first", "DATE"): _list_partitions,
    ("last", "DATE"): _list_partitions,
    ("table", None): _list_tables,
    ("table", "TABLE"): _list_tables,
    ("column", None): _list_columns,
    ("columns", "A,B"): _list_columns,
    ("partition_by", "A,B"): _list_columns,
    ("order_by", "A,-B"): _list_columns,
    ("where", "EXPR"): _list_columns,
    ("source", None): _list_sources,
    ("subject", "[SUBJECT]"): _list_domains,
    ("names", "NAME..."): _list_domains,
    ("ids", "ID..."): _list_alerts,
}
"""Reads the names of a parameter, by its name and how the help shows it."""


class KnownName(click.types.StringParamType):
    """A text that a shell completes by names of this installation."""

    def __init__(
        self,
        read: Callable[[click.Context], Known],
        apply_settings: Callable[[click.Context], None],
    ) -> None:
        self._read = read
        self._apply_settings = apply_settings

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        """Return the names that begin so; none where they cannot be read.

        Of a list such as `--columns a,b` the last one is completed.
        """
        is_list = "," in (param.metavar or "")
        before, comma, last = incomplete.rpartition(",") if is_list else ("", "", incomplete)
        sign = "-" if is_list and last.startswith("-") else ""
        with suppress(Exception):  # an error here would be written into the user's command line
            self._apply_settings(ctx)
            return [
                CompletionItem(f"{before}{comma}{sign}{name}", help=title or None)
                for name, title in self._read(ctx).items()
                if name.startswith(last.removeprefix(sign))
            ]
        return []


def complete_names(
    parameters: Iterable[click.Parameter], apply_settings: Callable[[click.Context], None]
) -> None:
    """Have the parameters that take names of this installation be completed by them.

    Args:
        parameters: Those of a command.
        apply_settings: Puts the settings that the command line names into the environment.
    """
    for parameter in parameters:
        read = READERS.get((str(parameter.name), parameter.metavar))
        if read is not None and parameter.type is click.STRING:
            parameter.type = KnownName(read, apply_settings)
