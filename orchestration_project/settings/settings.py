"""Every setting, read from the environment and `.env` when asked; the only reader of both.

Precedence: the defaults here < `.env` < environment < applied preset < a run's config.
"""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, ClassVar, Self

from dotenv import dotenv_values
from pydantic import PrivateAttr, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide, keep_secrets_out_of_logs
from orchestration_project.settings.access import AccessSettings
from orchestration_project.settings.operations import AlertSettings, ReadinessSettings
from orchestration_project.settings.profile import (
    DemoSettings,
    ProfileSettings,
    StorageSettings,
    profile_of,
    sources_of,
)
from orchestration_project.settings.renamed import RENAMED
from orchestration_project.settings.values import (
    PROJECT_ROOT,
    passwords_in,
    query_texts,
    tokens_in,
    without_query,
    without_secrets,
)
from orchestration_project.settings.webhooks import WebhookSettings

SECRETS_OF_LIBRARIES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
"""What libraries read from the environment without us."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
"""The same; a password may stand in their URLs."""

NAMED_CHANNEL = "alert_url_"
"""With this begin the names of settings that are channels of alerts."""

NAMED_BY_USERS = (NAMED_CHANNEL, "webhook_secret_")
"""How names begin of which the rest is the user's."""

LIKENESS = 0.9
"""Two names that are as alike (0-1, difflib) are taken for one with a slip: FINRA_SORCE."""

ADDRESSES = ("database_url", "dagster_database_url")
"""Secrets because a password stands in them; where they lead to is shown."""


SOURCE = "_api_url"
"""With this end the names of settings that are base URLs of sources."""


class _NamedChannels(PydanticBaseSettingsSource):
    """Reads the settings ALERT_URL_<NAME>, of which only their users know the names."""

    def __init__(self, *sources: EnvSettingsSource) -> None:
        super().__init__(Settings)
        self._sources = sources

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the channels of the first source that has each."""
        found = {
            name.removeprefix(NAMED_CHANNEL): url
            for source in reversed(self._sources)
            for name, url in source.env_vars.items()
            if name.startswith(NAMED_CHANNEL) and url
        }
        return found or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the one field that is made of them."""
        name = "alert_url_name"
        found, _, _ = self.get_field_value(self.settings_cls.model_fields[name], name)
        return {name: found} if found else {}


class Settings(
    DemoSettings,
    ReadinessSettings,
    WebhookSettings,
    AccessSettings,
    AlertSettings,
    StorageSettings,
    ProfileSettings,
):
    """What all domains share of the settings of a process; names are upper case outside.

    The settings of a process are of a class that is one of each domain's, too: `FinraSettings.of`
    gives them as those of the domain.
    """

    domain: ClassVar[str] = ""
    without_effect: ClassVar[frozenset[str]] = frozenset()

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    _problems: Mapping[str, Sequence[str]] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return the settings of a process as those of the domain whose class this is.

        Raises:
            TypeError: They were not made by `load_settings` or of `settings_class`.
        """
        if not isinstance(settings, cls):
            raise TypeError(f"{type(settings).__name__} has no settings of {cls.domain}")
        return settings

    @property
    def problems(self) -> Mapping[str, Sequence[str]]:
        """What is wrong with the settings of each domain that has invalid ones."""
        return self._problems

    @classmethod
    def domain_of(cls, name: str) -> str:
        """Return the domain of a setting, empty if it belongs to no single one."""
        return getattr(cls.owner_of(name), "domain", "")

    @classmethod
    def owner_of(cls, name: str) -> type | None:
        """Return the class that declares a setting."""
        owners = (base for base in cls.__mro__ if name in vars(base).get("__annotations__", {}))
        return next(owners, None)

    @classmethod
    def names_without_effect(cls) -> frozenset[str]:
        """Return the names, in capitals, of settings that change no result of a run.

        These are addresses, access, alerts, logs and speed; ``without_effect`` of each class.
        """
        return frozenset(
            name.upper()
            for base in cls.__mro__
            for name in vars(base).get("without_effect", frozenset())
        )

    def require_domain(self, domain: str) -> None:
        """Make sure that the settings of a domain are valid.

        Raises:
            ConfigurationError: They are not.
        """
        if domain in self._problems:
            raise _unusable(self._problems[domain])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read named channels from the environment and `.env` too."""
        read = [env_settings, dotenv_settings]
        named = _NamedChannels(*(each for each in read if isinstance(each, EnvSettingsSource)))
        return (init_settings, named, *read, file_secret_settings)


@cache
def settings_class() -> type[Settings]:
    """Return the class of a process's settings: those of each domain, and what all share."""
    package = f"{__package__}.domains"
    folder = [str(Path(__file__).parent / "domains")]
    names = sorted(each.name for each in iter_modules(folder))
    modules = [import_module(f"{package}.{name}") for name in names]
    found = [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Settings) and each.domain
    ]
    return create_model("Settings", __base__=tuple(reversed(found)), __module__=__name__)


def setting_names() -> list[str]:
    """Return every setting: the data profile, those of each domain, and what all share."""
    fields = settings_class().model_fields
    own = [name for name in fields if name not in Settings.model_fields]
    return list(dict.fromkeys(("data_profile", *own, *fields)))


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: Naming every setting that is missing or malformed, all at once.
    """
    settings = load_shared_settings()
    if settings.problems:
        raise _unusable([text for texts in settings.problems.values() for text in texts])
    return settings


def load_shared_settings() -> Settings:
    """Read the settings; where those of a domain are invalid, the domain has its defaults.

    `Settings.require_domain` then refuses what belongs to the domain. The setting that names its
    source is none of these, as the sources decide the data profile.

    Raises:
        ConfigurationError: A setting that belongs to no single domain is missing or malformed.
    """
    settings = _read(_given())
    hide(*_secrets(settings))
    keep_secrets_out_of_logs()
    return settings


def _given() -> object:
    """Return what differs when a setting may have been changed."""
    file = str(settings_class().model_config.get("env_file"))
    try:
        found = Path(file).stat()
    except OSError:
        return frozenset(os.environ.items()), file
    return frozenset(os.environ.items()), file, found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=1)  # to read them takes as long as a small load
def _read(_: object) -> Settings:
    try:
        settings = settings_class()()  # pyright: ignore[reportCallIssue] - pydantic fills the fields
    except ValidationError as error:
        settings = _without_invalid_domains(error)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the file .env cannot be read",
            expected=f"a text file in UTF-8 at {settings_class().model_config.get('env_file')}",
            found=type(error).__name__,
            remedy="save it as UTF-8, or correct its permissions",
        ) from None  # the original quotes the file, secrets included
    _refuse_misspelled()
    return settings


def _without_invalid_domains(error: ValidationError) -> Settings:
    """Return the settings with the defaults of each domain that has an invalid one.

    Raises:
        ConfigurationError: A setting that belongs to no single domain is invalid.
    """
    problems: dict[str, list[str]] = {}
    sources = sources_of(settings_class())
    places = {name: place for place, name in enumerate(setting_names())}
    found = sorted(
        error.errors(), key=lambda each: places.get("".join(map(str, each["loc"][:1])), -1)
    )
    for item in found:
        name = str(item["loc"][0]) if item["loc"] else ""
        domain = "" if name in sources else settings_class().domain_of(name)
        problems.setdefault(domain, []).append(_problem(item["loc"], item["msg"]))
    if "" in problems:
        raise _unusable([_problem(each["loc"], each["msg"]) for each in found]) from None
    given = {**DotEnvSettingsSource(settings_class())(), **EnvSettingsSource(settings_class())()}
    defaults = {
        name: field.get_default()
        for name, field in settings_class().model_fields.items()
        if settings_class().domain_of(name) in problems
    }
    settings = settings_class()(**{"data_profile": profile_of(given, sources), **defaults})
    settings._problems = problems
    return settings


def _unusable(problems: Sequence[str]) -> ConfigurationError:
    """Return the error of invalid settings; pydantic's own text quotes values, secrets included."""
    return ConfigurationError(
        f"{len(problems)} setting(s) cannot be used: " + "; ".join(problems),
        remedy="set them in the environment or in .env; .env.example lists every setting",
    )


def _refuse_misspelled() -> None:
    """Refuse a variable that is no setting but nearly one: its default would be taken in silence.

    Raises:
        ConfigurationError: Naming each of them, and what was probably meant.
    """
    known = list(settings_class().model_fields)
    words = tuple({name.partition("_")[0] + "_" for name in known})
    read = (DotEnvSettingsSource(settings_class()), EnvSettingsSource(settings_class()))
    given = {name.lower() for source in read for name in source.env_vars}
    renamed = {name: RENAMED[name] for name in sorted(map(str.upper, given)) if name in RENAMED}
    if renamed:
        raise ConfigurationError(
            f"{', '.join(renamed)}: renamed",
            expected=", ".join(renamed.values()),
            remedy="use the new name in the environment or in .env; .env.example lists all",
        )
    meant = {
        name.upper(): likely[0].upper()
        for name in sorted(given.difference(known))
        if name.startswith(words) and not name.startswith(NAMED_BY_USERS)
        if (likely := get_close_matches(name, known, n=1, cutoff=LIKENESS))
    }
    if meant:
        raise ConfigurationError(
            f"{', '.join(meant)}: no such setting",
            expected="perhaps " + ", ".join(meant.values()),
            remedy="correct the name in the environment or in .env; .env.example lists all",
        )


def _secrets(settings: Settings) -> list[str]:
    """Return every secret that an error or a log line might quote.

    Of a URL, that is its password; of a source's, its whole query, too; of one that is a secret
    itself, the tokens within it.
    """
    values = {name: getattr(settings, name) for name in settings_class().model_fields}
    found = [os.environ[name] for name in SECRETS_OF_LIBRARIES if name in os.environ]
    urls = [os.environ[name] for name in PROXIES if name in os.environ]
    urls += [each for each in values.values() if isinstance(each, str) and "://" in each]
    secrets = {name: each for name, each in values.items() if isinstance(each, SecretStr)}
    secrets |= settings.alert_url_name or {}
    for name, secret in secrets.items():
        text = secret.get_secret_value()
        urls += text.split()
        if "://" not in text:
            found.append(text)
        elif name not in ADDRESSES:
            found += tokens_in(text)
    sources = [each for name, each in values.items() if name.endswith(SOURCE) and each]
    found += [text for url in sources for text in query_texts(url)]
    return found + [secret for url in urls for secret in passwords_in(url)]


def read_secrets(*names: str) -> Mapping[str, str]:
    """Return those of the variables ``names`` that are set, in the environment or in `.env`.

    They are hidden from now on, as the secrets among the settings are.
    """
    file = settings_class().model_config.get("env_file")
    of_file = dotenv_values(file) if isinstance(file, Path) and file.exists() else {}
    given = {name: os.environ.get(name) or of_file.get(name) for name in names}
    found = {name: value for name, value in given.items() if value}
    hide(*found.values())
    return found


def origins() -> Mapping[str, str]:
    """Return where the value of each setting comes from now: default, file or environment."""
    return _origins(_given())


@lru_cache(maxsize=1)
def _origins(_: object) -> Mapping[str, str]:
    found = dict.fromkeys(settings_class().model_fields, "default")
    for origin, read in (
        ("file", DotEnvSettingsSource(settings_class())),
        ("environment", EnvSettingsSource(settings_class())),
    ):
        given = {*read(), *_NamedChannels(read)()}
        found |= {name: origin for name in found if name in given}
    return found


def shown_values(settings: Settings) -> Mapping[str, str]:
    """Return each setting as text without secrets: of those just whether they are set."""
    return {name: _shown(name, getattr(settings, name)) for name in settings_class().model_fields}


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):  # of channels, of which just the names are shown
        return ", ".join(sorted(value))
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if name.endswith(SOURCE):
        return without_query(text)
    if "://" in text and (name in ADDRESSES or not isinstance(value, SecretStr)):
        return without_secrets(text)
    return "***" if isinstance(value, SecretStr) else text


def _problem(location: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ")
    return f"{str(location[0]).upper()}: {reason}" if location else reason


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with ``changes``, for a program that we start."""
    return {**os.environ, **changes}
