"""Every setting, read from the environment and `.env` when asked; the only reader of both.

Precedence: the defaults here < `.env` < environment < applied preset < a run's config.
"""

import os
import re
import sys
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestration_project.access_settings import AccessSettings
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide, keep_secrets_out_of_logs

PROJECT_ROOT = Path(__file__).resolve().parent.parent

SECRET_QUERY_WORDS = ("key", "token", "secret", "password", "sig", "credential")
"""What names of secret query parameters hold: `apikey`, `client_secret`, `X-Amz-Signature`."""

SECRETS_OF_LIBRARIES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
"""What libraries read from the environment without us."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
"""The same; a password may stand in their URLs."""

SHORTEST_TOKEN_CHARACTERS = 20
"""A part of an alert channel's URL that is as long is taken for a token, not for a name."""

NAMED_CHANNEL = "alert_url_"
"""With this begin the names of settings that are channels of alerts."""

ADDRESSES = ("database_url", "dagster_database_url")
"""Secrets because a password stands in them; where they lead to is shown."""

FINRA_API_URL = "https://api.finra.org"
FINRA_TOKEN_URL = "https://ews.fip.finra.org/fip/rest/ews/oauth2/access_token"  # noqa: S105 - an address


def from_root(path: Path) -> Path:
    """Return ``path`` as an absolute one: our processes have different working directories."""
    return PROJECT_ROOT / path.expanduser()


def _or(name: str, other: str) -> AliasChoices:
    """Let a setting be given under another name too, which users of similar systems know."""
    return AliasChoices(name, other)


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, as in 2026-03-02T12:00:00+00:00")
    return moment


def _monday(day: date) -> date:
    if day.weekday() != 0:
        raise ValueError(f"{day} is a {day:%A}; FINRA's weeks start on Mondays")
    return day


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


class Settings(AccessSettings):
    """The settings of one process; names are upper case in the environment."""

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    finra_source: Literal["demo", "api", "files"] = Field(
        "demo", description="Where FINRA data comes from: the embedded demo, FINRA, or a folder."
    )
    finra_api_url: str = Field(FINRA_API_URL, description="Base URL of FINRA's Query API.")
    finra_token_url: str = Field(FINRA_TOKEN_URL, description="Where an access token is had.")
    finra_api_key: SecretStr | None = Field(
        None,
        validation_alias=_or("finra_api_key", "spine_finra_api_key"),
        description="A bearer token, sent as it is; takes the place of client and secret.",
    )
    finra_client_id: str | None = Field(None, description="API client; without it, anonymous.")
    finra_client_secret: SecretStr | None = Field(None, description="The API client's secret.")
    finra_files_dir: Path | None = Field(None, description="Folder of downloaded weekly files.")
    finra_first_week: Annotated[date, AfterValidator(_monday)] | None = Field(
        None,
        description="First weekly partition, a Monday; default: 52 weeks back; of files 2014.",
    )
    finra_requests_per_second: int = Field(
        20, ge=1, description="FINRA allows 20 synchronous requests a second for an IP address."
    )
    finra_concurrent_requests: int = Field(8, ge=1, description="Pages in flight at once.")
    finra_max_reject_ratio: float = Field(
        0.005, ge=0, le=1, description="Rejected share of rows (0-1) above which a week is held."
    )
    finra_restatement_notice_ratio: float = Field(
        0.001,
        ge=0,
        le=2,
        description="Shares that a restatement moves, over the week's shares (0-2), above which it "
        "is a notice; below a thousandth, percentages with one decimal hardly change.",
    )
    finra_band_weeks: int = Field(
        12,
        ge=1,
        description="How many weeks before a week, by date, say what is usual: a quarter, so that "
        "a market that grows or shrinks over the year is usual.",
    )
    finra_band_min_weeks: int = Field(
        4,
        ge=1,
        description="Earlier weeks without which a week's size is not judged: the median of fewer "
        "follows a single odd one.",
    )
    finra_band_width: float = Field(
        4.0,
        gt=0,
        description="Half of a band in standard deviations: under a normal law one in 16,000 weeks "
        "would lie outside.",
    )
    finra_band_floor: float = Field(
        1.5,
        ge=1,
        description="Factor that every band has at least, up and down, so that calm weeks do not "
        "make it narrow; shares fell by 29 % in a week before Christmas.",
    )
    finra_band_cap: float = Field(
        2.0,
        ge=1,
        lt=2.5,
        description="Factor that no band exceeds, up and down, however restless the weeks before "
        "were; below 2.5, so that a loss of 60 % always warns.",
    )
    finra_large_venue_share: float = Field(
        0.02,
        gt=0,
        le=1,
        description="Share of a tier's shares (0-1) from which on a venue is missed; smaller ones "
        "come and go.",
    )
    finra_large_venue_weeks: int = Field(
        4,
        ge=1,
        description="In how many of the latest weeks a venue has to be that large, so that one "
        "week's block trade makes none.",
    )
    finra_horizon_weeks: int = Field(
        30,
        ge=1,
        description="How far back schedule, sensors and freshness look for missing or restated "
        "weeks; restatements were seen up to 169 days after a week's start.",
    )
    finra_partitions_per_tick: int = Field(
        12,
        ge=1,
        description="Most runs that a sensor asks for in a tick, each of one partition: four weeks "
        "of the three tiers, so that other runs need not queue behind a backlog.",
    )
    finra_freshness_grace_hours: float = Field(
        36,
        ge=0,
        description="Hours after New York's midnight of a publication day from which a missing "
        "week is late: FINRA names no hour, so that day, and half of the next to load it.",
    )

    database_url: SecretStr | None = Field(
        None,
        validation_alias=_or("database_url", "spine_db_url"),
        description="SQLAlchemy URL; default: a SQLite file for each source in STATE_DIR.",
    )
    database_schema: str | None = Field(None, description="PostgreSQL schema of our tables.")
    dagster_database_url: SecretStr | None = Field(
        None, description="postgresql:// URL of Dagster's own storage; default: SQLite."
    )
    dagster_run_log_days: int = Field(
        90,
        ge=1,
        description="Days after which operations_prune frees what a finished run left in Dagster's "
        "logs: a quarter, as ticks are kept.",
    )
    artifacts_url: str | None = Field(
        None, description="Folder or s3:// URL that keeps raw bytes; default: STATE_DIR/artifacts."
    )
    artifacts_captured_days: int | None = Field(
        None,
        ge=2,
        description="Days after which operations_cleanup may delete captured bytes that no current "
        "row was read from; default: never.",
    )
    artifacts_staged_days: int | None = Field(
        30, ge=2, description="The same of staged rows, which nothing reads again."
    )
    artifacts_picture_days: int | None = Field(365, ge=2, description="The same of pictures.")
    artifacts_keep_newest: int = Field(
        3,
        ge=1,
        description="How many deliveries of a partition, or pictures of a kind, stay however old "
        "they are.",
    )
    state_dir: Path = Field(Path("var"), description="The folder of all state.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        validation_alias=_or("log_level", "spine_log_level"),
        description="Least severe log line that is written.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines as text, or each as a JSON object for a log store."
    )
    clock_now: Annotated[datetime, AfterValidator(_zoned)] | None = Field(
        None, description="An ISO time with zone from which the clock advances; for tests, demos."
    )

    ui_url: str = Field(
        "http://127.0.0.1:3000", description="Where people reach Dagster's UI; alerts link to it."
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="Who is told: Apprise URLs with blanks between, each with the least severity "
        "that it gets before it, as in warning=mailto://... (info, warning, error; default error).",
    )
    alert_url_name: Annotated[Mapping[str, SecretStr] | None, NoDecode] = Field(
        None,
        description="One more of these under a name of your own in place of NAME: ALERT_URL_OPS is "
        "the channel ops of alerts.yaml.",
    )
    slack_webhook: SecretStr | None = Field(
        None,
        validation_alias=_or("slack_webhook", "spine_slack_webhook"),
        description="A webhook of Slack's: one more entry of ALERT_URLS.",
    )
    alert_window_hours: float = Field(
        24, gt=0, description="The same failure is told again after this long: once a day."
    )
    alert_rules: Path = Field(
        Path("alerts.yaml"), description="The file of rules: who is told of what."
    )

    webhooks_file: Path = Field(
        Path("webhooks.yaml"),
        description="Who may deliver webhooks, and how they sign; the secrets are in "
        "WEBHOOK_SECRET_<SOURCE>, and the one before it in WEBHOOK_SECRET_<SOURCE>_OLD.",
    )
    webhook_max_body_mib: int = Field(
        5, ge=1, description="Largest body of a webhook, MiB; a larger one is refused."
    )
    webhook_inbox_rows: int = Field(
        100_000,
        ge=1,
        description="Deliveries that may wait in the inbox; from then on senders are told to come "
        "again later.",
    )

    api_allowed_origins: str = Field(
        "",
        description="Origins of web pages elsewhere that may call the API with a key, with blanks "
        "between, such as https://reports.example.org; default: none.",
    )

    readiness_max_age_minutes: float = Field(
        15,
        ge=0,
        description="Minutes for which work goes by what was found of a dependency that was ready; "
        "then it is looked at again first.",
    )
    disk_headroom_mib: int = Field(
        512,
        ge=0,
        description="MiB that must be free where we write, or no work begins: a week of all tiers "
        "takes some tens of it.",
    )
    clock_skew_seconds: float = Field(
        10,
        gt=0,
        description="Seconds by which this machine's clock may differ from the database's server "
        "and FINRA, whose times have whole seconds.",
    )

    demo_rows_per_week: int = Field(
        160_000, ge=300, description="Firm rows a week that the demo source makes, over all tiers."
    )
    demo_seed: int = Field(20_250_106, description="Seed of the demo's market.")
    demo_latency_seconds: float = Field(0.0, ge=0, description="Delay of each demo answer.")
    demo_requests_per_second: int = Field(
        20, ge=0, description="Rate above which the demo answers 429; 0: no limit."
    )
    demo_idle_seconds: float = Field(900, gt=0, description="The demo ends after this long unused.")

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

    @field_validator("finra_band_min_weeks", "finra_large_venue_weeks")
    @classmethod
    def _within_band_weeks(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("finra_band_weeks", value):
            raise ValueError("more weeks than FINRA_BAND_WEEKS looks at")
        return value

    @field_validator("api_allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for each in value.split():
            parts = urlsplit(each)
            if parts.scheme not in ("http", "https") or each != f"{parts.scheme}://{parts.netloc}":
                raise ValueError("an origin is scheme and host, such as https://example.org")
        return value

    @field_validator("finra_files_dir")
    @classmethod
    def _needed_for_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("finra_source") == "files":
            raise ValueError("needed when FINRA_SOURCE=files")
        return value and from_root(value)

    @field_validator("finra_client_secret")
    @classmethod
    def _both_or_neither(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (info.data.get("finra_client_id") is None):
            raise ValueError("set FINRA_CLIENT_ID and FINRA_CLIENT_SECRET both, or neither")
        return value

    @property
    def state_path(self) -> Path:
        """STATE_DIR as an absolute path; a relative one is below the project's root."""
        return from_root(self.state_dir)

    @property
    def webhooks_path(self) -> Path:
        """WEBHOOKS_FILE as an absolute path; a relative one is below the project's root."""
        return from_root(self.webhooks_file)

    @property
    def every_alert_url(self) -> str:
        """The entries of ALERT_URLS, and SLACK_WEBHOOK as the last of them."""
        given = (self.alert_urls, self.slack_webhook)
        return " ".join(each.get_secret_value() for each in given if each)

    @property
    def named_alert_urls(self) -> Mapping[str, str]:
        """The entries of ALERT_URL_<NAME>, by name in lower case."""
        given = self.alert_url_name or {}
        return {name: url.get_secret_value() for name, url in given.items()}

    @property
    def has_alert_channels(self) -> bool:
        """Whether anybody is told of alerts."""
        return bool(self.every_alert_url or self.named_alert_urls)

    @property
    def alert_rules_path(self) -> Path | None:
        """ALERT_RULES as an absolute path; None where nobody set it and the file is not there."""
        path = from_root(self.alert_rules)
        is_own = self.alert_rules != type(self).model_fields["alert_rules"].default
        return path if is_own or path.exists() else None

    @property
    def is_demo(self) -> bool:
        """Whether FINRA data is made up by the embedded demo."""
        return self.finra_source == "demo"


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: Naming every setting that is missing or malformed, all at once.
    """
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue] - pydantic fills the fields
    except ValidationError as error:
        problems = [_problem(item["loc"], item["msg"]) for item in error.errors()]
        raise ConfigurationError(
            f"{len(problems)} setting(s) cannot be used: " + "; ".join(problems),
            remedy="set them in the environment or in .env; .env.example lists every setting",
        ) from None  # pydantic's own text quotes the values, secrets included
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the file .env cannot be read",
            expected=f"a text file in UTF-8 at {Settings.model_config.get('env_file')}",
            found=type(error).__name__,
            remedy="save it as UTF-8, or correct its permissions",
        ) from None  # the original quotes the file, secrets included
    hide(*_secrets(settings))
    keep_secrets_out_of_logs()
    return settings


def _secrets(settings: Settings) -> list[str]:
    """Return every secret that an error or a log line might quote.

    Of a URL, that is its password; of one that is a secret itself, the tokens within it, too.
    """
    values = {name: getattr(settings, name) for name in Settings.model_fields}
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
            found += _tokens_in(text)
    return found + [secret for url in urls for secret in _passwords_in(url)]


def _passwords_in(url: str) -> list[str]:
    """Return the password of ``url``, and the values of its secret query parameters."""
    address, _, query = url.partition("://")[2].partition("?")
    user, _, _ = address.rpartition("@")
    pairs = [pair.partition("=") for pair in query.split("&")]
    found = [user.partition(":")[2], *(value for name, _, value in pairs if _is_secret(name))]
    return [*found, *map(unquote, found)]


def _tokens_in(urls: str) -> list[str]:
    """Return what may be a token in the path and query of ``urls``."""
    parts = [each for url in urls.split() for each in re.split(r"[/?&=@]", url)]
    long = [each for each in parts if len(each) >= SHORTEST_TOKEN_CHARACTERS]
    return [*long, *map(unquote, long)]


def read_secrets(*names: str) -> Mapping[str, str]:
    """Return those of the variables ``names`` that are set, in the environment or in `.env`.

    They are hidden from now on, as the secrets among the settings are.
    """
    file = Settings.model_config.get("env_file")
    of_file = dotenv_values(file) if isinstance(file, Path) and file.exists() else {}
    given = {name: os.environ.get(name) or of_file.get(name) for name in names}
    found = {name: value for name, value in given.items() if value}
    hide(*found.values())
    return found


def origins() -> Mapping[str, str]:
    """Return where the value of each setting comes from now: default, file or environment."""
    found = dict.fromkeys(Settings.model_fields, "default")
    for origin, read in (
        ("file", DotEnvSettingsSource(Settings)),
        ("environment", EnvSettingsSource(Settings)),
    ):
        given = {*read(), *_NamedChannels(read)()}
        found |= {name: origin for name in found if not given.isdisjoint(_names(name))}
    return found


def _names(name: str) -> list[str]:
    """Return the names under which a setting may be given, its own first."""
    alias = Settings.model_fields[name].validation_alias
    return [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else [name]


PAGE = """# Settings

Read from the environment and from `.env`; the environment goes before. An applied
[preset](presets.md) goes before both, and a run's config before all.
An empty value is no value. Where a setting has another name, its own goes before that.
Made by `python -m orchestration_project.settings`; a test holds it to the code.

| setting | default | what it is |
|---|---|---|
"""


def page() -> str:
    """Return docs/settings.md."""
    return PAGE + "".join(f"{_line(name)}\n" for name in Settings.model_fields)


def _line(name: str) -> str:
    field, (own, *others) = Settings.model_fields[name], _names(name)
    default = "" if field.default is None else f"`{field.default}`"
    also = f" Also read as `{others[0].upper()}`." if others else ""
    return f"| `{own.upper()}` | {default} | {field.description}{also} |"


def shown_values(settings: Settings) -> Mapping[str, str]:
    """Return each setting as text without secrets: of those just whether they are set."""
    return {name: _shown(name, getattr(settings, name)) for name in Settings.model_fields}


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):  # of channels, of which just the names are shown
        return ", ".join(sorted(value))
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if "://" in text and (name in ADDRESSES or not isinstance(value, SecretStr)):
        return without_secrets(text)
    return "***" if isinstance(value, SecretStr) else text


def _problem(location: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ")
    return f"{str(location[0]).upper()}: {reason}" if location else reason


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with ``changes``, for a program that we start."""
    return {**os.environ, **changes}


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


def _is_secret(query_name: str) -> bool:
    return any(word in unquote(query_name).lower() for word in SECRET_QUERY_WORDS)


if __name__ == "__main__":
    sys.stdout.write(page())
