"""Secret parts of settings, and each setting as text without them."""

from collections.abc import Mapping

from pydantic import SecretStr

from orchestration_project.settings.given import ENVIRONMENT
from orchestration_project.settings.settings import Settings, settings_class
from orchestration_project.settings.values import (
    passwords_in,
    query_texts,
    split_entries,
    tokens_in,
    without_query,
    without_secrets,
)

SECRETS_OF_LIBRARIES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
"""Variables that libraries read from the environment themselves."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
"""The same; a password may stand in their URLs."""

ADDRESSES = ("database_url", "dagster_database_url")
"""Secrets because a password stands in them; where they lead to is shown."""


SOURCE = "_api_url"
"""With this end the names of settings that are base URLs of sources."""


def secrets_of(settings: Settings) -> list[str]:
    """Return every secret that an error or a log line might quote.

    Of a URL, that is its password; of a source's, its whole query, too; of one that is a secret
    itself, the tokens within it.
    """
    values = {name: getattr(settings, name) for name in settings_class().model_fields}
    found = [ENVIRONMENT[name] for name in SECRETS_OF_LIBRARIES if name in ENVIRONMENT]
    urls = [ENVIRONMENT[name] for name in PROXIES if name in ENVIRONMENT]
    urls += [each for each in values.values() if isinstance(each, str) and "://" in each]
    secrets = {name: each for name, each in values.items() if isinstance(each, SecretStr)}
    secrets |= settings.alert_url_name or {}
    for name, secret in secrets.items():
        text = secret.get_secret_value()
        urls += split_entries(text) if name == "alert_urls" else [text]
        if "://" not in text:
            found.append(text)
        elif name not in ADDRESSES:
            found += tokens_in(text)
    sources = [each for name, each in values.items() if name.endswith(SOURCE) and each]
    found += [text for url in sources for text in query_texts(url)]
    return found + [secret for url in urls for secret in passwords_in(url)]


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
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if name.endswith(SOURCE):
        return without_query(text)
    if "://" in text and (name in ADDRESSES or not isinstance(value, SecretStr)):
        return without_secrets(text)
    return "***" if isinstance(value, SecretStr) else text
