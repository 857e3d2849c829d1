"""The classes of commands and groups: global options at any place, modules imported when needed."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any, NamedTuple

import click

from orchestration_project.cli.console import OUTPUT
from orchestration_project.cli.exit_statuses import EXIT_STATUS_TEXT
from orchestration_project.cli.known_names import complete_names
from orchestration_project.errors import ConfigurationError

PROGRAM = "orchestrate"

OPTIONS_KEY = "orchestration_project.cli.options"
"""Key of the global options in click's context, at whatever place they were given."""


def read_versions() -> dict[str, str]:
    """Return the versions of this program and of what it runs on."""
    from importlib.metadata import version

    from orchestration_project import release
    from orchestration_project.migrations import NEWEST_VERSION

    return {
        PROGRAM: release(),
        "dagster": version("dagster"),
        "schema": NEWEST_VERSION,
        "python": platform.python_version(),
    }


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is not None and value is not False:
        context.meta.setdefault(OPTIONS_KEY, {})[parameter.name] = value
    return value


def _build_option(*names: str, **attributes: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_remember, **attributes)


STATE_DIR = _build_option(
    "--state-dir",
    metavar="PATH",
    type=click.Path(file_okay=False),
    help="Folder of all local state. [env: STATE_DIR]",
)
ENV_FILE = _build_option(
    "--env-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="File of settings; it overrides .env, the environment overrides it.",
)
QUIET = _build_option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
VERBOSE = _build_option("-v", "--verbose", is_flag=True, help="Dagster's log and tracebacks too.")
JSON = _build_option(
    "--json", "is_json", is_flag=True, is_eager=True, help="Write the result as JSON."
)
DRY_RUN = _build_option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")

WHOLE = 1000
"""More characters than a first sentence has."""

COMMON = (STATE_DIR, ENV_FILE, QUIET, VERBOSE)
GLOBAL = (*COMMON, JSON, DRY_RUN)


def _write_options(
    command: click.Command, context: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write the options of a command, those that all commands take in a section of their own."""
    values: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options": []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            values["Global options" if parameter in GLOBAL else "Options"].append(record)
    values["Global options"].append(values["Options"].pop())  # --help, which is the last
    for heading, records in values.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


class Command(click.Command):
    """A command that takes the global options too.

    Args:
        has_json: Whether it takes ``--json``, as whatever lists or judges does.
        has_dry_run: Whether it takes ``--dry-run``, as whatever writes does.
        is_load: Whether it loads, so that its exit status is one of `EXIT_STATUSES`.
    """

    def __init__(
        self,
        *arguments: Any,
        has_json: bool = False,
        has_dry_run: bool = False,
        is_load: bool = False,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        complete_names(self.params, apply_given_settings)
        if is_load:
            self.help = f"{cleandoc(self.help or '')}\n\n{EXIT_STATUS_TEXT}"
        options = [option for option, has in ((JSON, has_json), (DRY_RUN, has_dry_run)) if has]
        self._own = (*options, *COMMON)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its own parameters and the global ones that it takes."""
        *params, help_option = super().get_params(ctx)
        return [*params, *self._own, help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, global ones last."""
        _write_options(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Apply the global options, then run."""
        options = ctx.meta.get(OPTIONS_KEY, {})
        for option in GLOBAL:
            if option.name in options and option not in self._own:
                raise click.UsageError(f"{ctx.command_path} has no {option.opts[-1]}", ctx)
        _apply(ctx, options)
        _declare_own_tables()
        return super().invoke(ctx)


def _declare_own_tables() -> None:
    """Declare the tables of the sources in the project folder, as commands take their names.

    Raises:
        ConfigurationError: A source is declared wrongly.
    """
    from orchestration_project.settings.project import own_files

    if own_files():
        from orchestration_project.engine.own_sources import load_declarations

        load_declarations()


def _apply(context: click.Context, given: Mapping[str, Any]) -> None:
    names = ("is_json", "dry_run", "quiet", "verbose")
    is_json, is_dry_run, is_quiet, is_verbose = (bool(given.get(name)) for name in names)
    if is_quiet and is_verbose:
        raise click.UsageError("--quiet and --verbose exclude each other", context)
    OUTPUT.set(is_json=is_json, is_dry_run=is_dry_run, is_quiet=is_quiet, is_verbose=is_verbose)
    apply_given_settings(context)


def apply_given_settings(context: click.Context) -> None:
    """Put the settings of `--env-file` and `--state-dir` into the environment.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    options = context.meta.get(OPTIONS_KEY, {})
    changes = dict(_read_env_file(options["env_file"])) if "env_file" in options else {}
    if changes:
        from orchestration_project.settings.given import ENV_FILE

        changes[ENV_FILE] = str(Path(options["env_file"]).resolve())
    if "state_dir" in options:
        changes["STATE_DIR"] = str(Path(options["state_dir"]).resolve())
    os.environ.update(changes)  # noqa: TID251 - the settings, and programs started, read it here


def _read_env_file(file: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a file that the environment does not have.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    from dotenv import dotenv_values

    try:
        variables = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"invalid --env-file {file}: it cannot be read",
            expected="a text file in UTF-8",
            found=type(error).__name__,
        ) from None  # the original quotes the file, secrets included
    for name, value in variables.items():
        if value is not None and name not in os.environ:  # noqa: TID251 - it overrides the file
            yield name, value


class Group(click.Group):
    """A group whose commands are of `Command`, and which takes the global options too."""

    command_class = Command
    group_class = type

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its own parameters and all global ones."""
        *params, help_option = super().get_params(ctx)
        return [*params, *GLOBAL, help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, global ones last, then the commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with its whole first sentence, which click would cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(WHOLE))
                    for name, command in commands.items()
                    if command
                ]
            )


class Entry(NamedTuple):
    """A command of the root: where it is defined, and what the list of commands shows.

    Attributes:
        place: Its module and its name there, with a colon between.
        section: The heading under which it is listed; empty: it is an alias, and not listed.
    """

    place: str
    summary: str
    section: str = ""


class LazyGroup(Group):
    """A group that imports the module of the one command that is asked for."""

    def __init__(
        self,
        *arguments: Any,
        entries: Mapping[str, Entry],
        sections: Sequence[str],
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.entries = entries
        self._sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that are listed."""
        return [name for name, entry in self.entries.items() if entry.section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self.entries:
            return None
        module, _, name = self.entries[cmd_name].place.partition(":")
        return getattr(import_module(module), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, or refuse an unknown name with those that are like it."""
        name = args[0]
        if name not in self.entries and not name.startswith("-"):
            known_names = [*self.entries, "--help", "--version"]
            raise click.exceptions.NoSuchCommand(name, possibilities=known_names, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, without importing a command."""
        for section in self._sections:
            rows = [
                (name, entry.summary)
                for name, entry in self.entries.items()
                if entry.section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows, col_max=20)
