"""The class of all settings, made of those of each domain and what all share; and their texts.

Precedence: the defaults here < `.env` < environment < applied preset < a run's config.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr, SecretStr, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.access import AccessSettings
from orchestration_project.settings.deployment import DeploymentSettings
from orchestration_project.settings.domain_modules import import_domain_modules
from orchestration_project.settings.given import ENVIRONMENT, field_values, read_given
from orchestration_project.settings.operations import (
    AlertSettings,
    BackupSettings,
    CheckSettings,
    ExportSettings,
    ObjectiveSettings,
    ReadinessSettings,
    TracingSettings,
)
from orchestration_project.settings.profile import DemoSettings, ProfileSettings, StorageSettings
from orchestration_project.settings.project import own_domain, project_folder
from orchestration_project.settings.values import (
    passwords_in,
    query_texts,
    split_entries,
    tokens_in,
    without_query,
    without_secrets,
)
from orchestration_project.settings.webhooks import WebhookSettings


class _Given(PydanticBaseSettingsSource):
    """Reads the environment and `.env`; each secret also from a file, and the named channels."""

    def __init__(self, settings: type[BaseSettings], env_file: object) -> None:
        super().__init__(settings)
        self._given = read_given(Path(str(env_file)) if env_file else None)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the given value of a field, None if there is none."""
        return field_values({field_name: field}, self._given).get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the fields for which something is given."""
        return field_values(self.settings_cls.model_fields, self._given)


class Settings(
    DemoSettings,
    ReadinessSettings,
    CheckSettings,
    ExportSettings,
    ObjectiveSettings,
    WebhookSettings,
    AccessSettings,
    AlertSettings,
    DeploymentSettings,
    BackupSettings,
    TracingSettings,
    StorageSettings,
    ProfileSettings,
):
    """Settings of a process that all domains share; as variables, their names are upper case.

    The settings of a process are of a class that is one of each domain's, too: `FinraSettings.of`
    gives them as those of the domain.

    Attributes:
        domain: The domain of a class; empty: all share its settings.
        without_effect: Settings that change no result of a run.
        file_readers: Functions of the settings that read files of the domain, with their modules;
            they raise ConfigurationError if a file is invalid.
        indicators: Indicators that objectives of the domain may have, of those for one domain.
    """

    domain: ClassVar[str] = ""
    without_effect: ClassVar[frozenset[str]] = frozenset()
    file_readers: ClassVar[tuple[str, ...]] = ()
    indicators: ClassVar[frozenset[str]] = frozenset()

    model_config = SettingsConfigDict(
        defer_build=True,  # of their union alone, not of each domain
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
        """Problems of settings, by domain with invalid ones."""
        return self._problems

    @property
    def programs(self) -> Mapping[str, Sequence[str]]:
        """Programs of domains that `ui` supervises: arguments of `python -m`, by name."""
        return {}

    def values_for_broker(
        self, url: str, user: str, password: str, ca_file: Path
    ) -> Mapping[str, str]:
        """Return the settings, by variable, of programs that use the broker of `stack`.

        Args:
            url: URL of the broker, without user.
            user: Account of the programs.
            password: Its password.
            ca_file: Certificate that the broker's is verified with.
        """
        return {}

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

    @classmethod
    def indicators_of(cls, domain: str) -> frozenset[str]:
        """Return the ``indicators`` of a domain of the package."""
        return frozenset(getattr(cls._class_of(domain), "indicators", ()))

    @classmethod
    def _class_of(cls, domain: str) -> type | None:
        """Return the class of a domain's settings; None: it has none."""
        return next((base for base in cls.__mro__ if vars(base).get("domain") == domain), None)

    def require_domain(self, domain: str) -> None:
        """Make sure that the settings and files of a domain are valid.

        Raises:
            ConfigurationError: They are not.
        """
        from orchestration_project.settings.checks import domains_with_limits

        if domain in self._problems:
            raise invalid_settings(self._problems[domain])
        for reader in getattr(self._class_of(domain), "file_readers", ()):
            module, _, name = reader.rpartition(".")
            getattr(import_module(module), name)(self)
        if domain in {*domains_with_limits(), own_domain()}:
            self.checks_of(domain)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment and `.env` in one place, which knows files of secrets."""
        is_read = isinstance(dotenv_settings, DotEnvSettingsSource)
        return init_settings, _Given(settings_cls, dotenv_settings.env_file if is_read else None)


@cache
def settings_class() -> type[Settings]:
    """Return the class of a process's settings: those of each domain, and what all share.

    Raises:
        ConfigurationError: The project folder, which has `.env`, is invalid.
    """
    settings_classes = [
        var
        for module in import_domain_modules("settings")
        for var in vars(module).values()
        if isinstance(var, type) and issubclass(var, Settings) and var.domain
    ]
    model = create_model(
        "Settings", __base__=tuple(reversed(settings_classes)), __module__=__name__
    )
    model.model_config["env_file"] = project_folder() / ".env"
    return model


def setting_names() -> list[str]:
    """Return every setting: the data profile, those of each domain, and what all share."""
    fields = settings_class().model_fields
    names = [name for name in fields if name not in Settings.model_fields]
    return list(dict.fromkeys(("data_profile", *names, *fields)))


def invalid_settings(problems: Sequence[str]) -> ConfigurationError:
    """Return the error of invalid settings; pydantic's own text quotes values, secrets included."""
    return ConfigurationError(
        f"{len(problems)} invalid setting{'s' if len(problems) > 1 else ''}: {'; '.join(problems)}",
        remedy="correct them in the environment or in .env; .env.example lists all",
    )


SECRETS_OF_LIBRARIES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
"""Variables that libraries read from the environment themselves."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
"""The same; a password may stand in their URLs."""

ADDRESSES = ("database_url", "analyst_database_url", "dagster_database_url", "broker_url")
"""Secrets because a password stands in them; where they lead to is shown."""


SOURCE = "_api_url"
"""With this end the names of settings that are base URLs of sources."""


def secrets_of(settings: Settings) -> list[str]:
    """Return every secret that an error or a log line might quote.

    Of a URL, that is its password; of a source's, its whole query, too; of one that is a secret
    itself, the tokens within it.
    """
    values = {name: getattr(settings, name) for name in settings_class().model_fields}
    names = [ENVIRONMENT[name] for name in SECRETS_OF_LIBRARIES if name in ENVIRONMENT]
    urls = [ENVIRONMENT[name] for name in PROXIES if name in ENVIRONMENT]
    urls += [value for value in values.values() if isinstance(value, str) and "://" in value]
    secrets = {name: value for name, value in values.items() if isinstance(value, SecretStr)}
    secrets |= settings.alert_url_name or {}
    names += settings.otlp_headers.values()
    for name, secret in secrets.items():
        text = secret.get_secret_value()
        urls += split_entries(text) if name == "alert_urls" else [text]
        if "://" not in text:
            names += [text, *text.splitlines()]
        elif name not in ADDRESSES:
            names += tokens_in(text)
    sources = [value for name, value in values.items() if name.endswith(SOURCE) and value]
    names += [text for url in sources for text in query_texts(url)]
    return names + [secret for url in urls for secret in passwords_in(url)]


def shown_values(settings: Settings) -> Mapping[str, str]:
    """Return each setting as text without secrets: of those just whether they are set."""
    return {
        name: shown_text(name, getattr(settings, name)) for name in settings_class().model_fields
    }


def shown_text(name: str, value: object) -> str:
    """Return the value of the setting ``name`` without what is secret in it."""
    if value is None:
        return ""
    if isinstance(value, Mapping):  # of channels, of which just the names are shown
        return ", ".join(sorted(value))
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, datetime):
        return value.isoformat()
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if name.endswith(SOURCE):
        return without_query(text)
    if "://" in text and (name in ADDRESSES or not isinstance(value, SecretStr)):
        return without_secrets(text)
    return "***" if isinstance(value, SecretStr) else text
