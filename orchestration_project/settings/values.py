"""Types of settings, notes on them, paths, and the secret parts of URLs."""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, TypedDict, Unpack
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, JsonValue
from pydantic.fields import FieldInfo

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.project import DEFAULTS, project_folder

Group = Literal["essential", "tuning", "security", "demo"]

GROUPS: Mapping[Group, str] = {
    "essential": "Sources, storage and alerts, which every deployment decides.",
    "tuning": "Other sources, limits, schedules and retention, with working defaults.",
    "security": "Credentials, login and network access.",
    "demo": "The embedded simulators and their clock.",
}
"""The groups of settings, by audience, in the order in which they are listed."""


class About(TypedDict, total=False):
    """Notes on a setting; what is left out is derived from its class, type and default."""

    name: str
    group: Group
    default: str
    allowed: str
    unit: str
    required_when: str


def about(**notes: Unpack[About]) -> dict[str, JsonValue]:
    """Return notes on a setting, to be given as its ``json_schema_extra``."""
    return {str(name): str(value) for name, value in notes.items()}


PROXY_URL = re.compile(r"https?://([^\s/?#@]+@)?(?P<host>[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})/?")
"""URL of a proxy, which may have a user and password."""

MAX_DAYS = 36_500
MAX_WEEKS, MAX_HOURS, MAX_MINUTES = MAX_DAYS // 7, MAX_DAYS * 24, MAX_DAYS * 24 * 60
"""A century. Arithmetic of times overflows with much longer durations, or infinity."""

FIRST_YEAR, LAST_YEAR = 1971, 2200
"""Range of times in which adding or subtracting the longest duration does not overflow."""


SPACES = "expected comma-separated entries, found spaces between them"


def is_secret(field: FieldInfo) -> bool:
    """Whether the value of a setting is never shown."""
    return "SecretStr" in str(field.annotation)


def _split_given(given: object) -> object:
    return split_entries(given) if isinstance(given, str) else given


def split_entries(text: str) -> tuple[str, ...]:
    """Return the entries of a comma-separated list; one with a comma in it is in double quotes.

    Raises:
        ValueError: A quote is not closed.
    """
    lines = [text.replace("\n", " ")]
    try:
        [found] = csv.reader(lines, skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise ValueError(f"expected comma-separated entries, found: {error}") from error
    return tuple(name.strip() for name in found if name.strip())


def _refuse_spaces(found: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(name.split()) > 1 for name in found):
        raise ValueError(SPACES)
    return found


def require_one_each(entries: Iterable[str], start: str) -> None:
    """Refuse entries in which a second one begins after a space.

    Args:
        entries: Entries that may have spaces in them.
        start: A regular expression of what an entry begins with.

    Raises:
        ValueError: Two have no comma between them.
    """
    if any(re.search(rf"\s({start})", entry) for entry in entries):
        raise ValueError(SPACES)


def project_path(path: Path) -> Path:
    """Return ``path`` as an absolute one: our processes have different working directories.

    Raises:
        ConfigurationError: It begins with the home of a user who has none.
    """
    try:
        return project_folder() / path.expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"the path {path} leads nowhere",
            found=f"unknown user {path.parts[0]}",
            remedy="correct it, in the environment or in .env",
        ) from error


def default_path(path: Path) -> Path:
    """Return the absolute path of a file or folder, the default where the project has none.

    Args:
        path: Path below the project folder, or an absolute one, which has no default.
    """
    own, default = project_path(path), DEFAULTS / path
    return default if default.exists() and not os.path.lexists(own) else own


def default_files(folder: Path, pattern: str) -> Sequence[Path]:
    """Return the files of a folder by name; one of the project overrides a default of its name.

    Args:
        folder: Path below the project folder, or an absolute one, which has no defaults.
        pattern: Glob of file names.
    """
    folders = (DEFAULTS / folder, project_path(folder))
    files = {file.name: file for parent in folders for file in parent.glob(pattern)}
    return [file for _, file in sorted(files.items())]


def _require_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("expected a time zone, e.g. 2026-03-02T12:00:00+00:00")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def _require_monday(day: date) -> date:
    if day.weekday() != 0:
        raise ValueError(f"expected a Monday, found a {day:%A}")
    return day


Entries = Annotated[tuple[str, ...], BeforeValidator(_split_given)]
"""A comma-separated list; spaces belong to its entries."""

Words = Annotated[Entries, AfterValidator(_refuse_spaces)]
"""A comma-separated list of entries without spaces."""

Zoned = Annotated[datetime, AfterValidator(_require_zone)]
"""A time that says its zone, of a year that can be reckoned with."""

Monday = Annotated[date, AfterValidator(_require_monday)]
"""A day on which FINRA's weeks start."""


SECRET_QUERY_WORDS = ("key", "token", "secret", "password", "sig", "credential")
"""Parts of the names of secret query parameters: `apikey`, `client_secret`, `X-Amz-Signature`."""

SHORTEST_TOKEN_CHARACTERS = 20
"""A part of an alert channel's URL that is as long is taken for a token, not for a name."""


def passwords_in(url: str) -> list[str]:
    """Return the password of ``url``, and the values of its secret query parameters."""
    address, _, query = url.partition("://")[2].partition("?")
    user, _, _ = address.rpartition("@")
    pairs = [pair.partition("=") for pair in query.split("&")]
    password = user.partition(":")[2]
    names = [password, *(value for name, _, value in pairs if _is_secret(name))]
    if "@" in password:  # who takes the first for its end shows the rest as a host
        names += password.split("@")
    return [*names, *map(unquote, names)]


def tokens_in(urls: str) -> list[str]:
    """Return the parts of ``urls``, in path and query, that may be tokens."""
    parts = re.split(r"[/?&=@,\s\"]", urls)
    long = [part for part in parts if len(part) >= SHORTEST_TOKEN_CHARACTERS]
    return [*long, *map(unquote, long)]


def without_secrets(url: str) -> str:
    """Return ``url`` without user, password and the values of secret query parameters.

    Of one that cannot be taken apart (say, a password with a bare ``#``) just the scheme is left.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where a password was taken for one
    except ValueError:
        return f"{url.partition('://')[0]}://***"
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{name}=***" if _is_secret(name) else f"{name}{equals}{value}"
        for name, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def without_query(url: str) -> str:
    """Return the base URL of a source as it may be shown: whatever its query holds is masked."""
    address, mark, _ = without_secrets(url).partition("?")
    return f"{address}?***" if mark else address


def query_texts(url: str) -> list[str]:
    """Return the query of ``url`` and its values, as they may be quoted."""
    query = url.partition("?")[2]
    names = [query, *(pair.partition("=")[2] for pair in query.split("&"))]
    return [*names, *map(unquote, names)]


def _is_secret(query_name: str) -> bool:
    return any(word in unquote(query_name).lower() for word in SECRET_QUERY_WORDS)
