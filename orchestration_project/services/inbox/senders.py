"""Webhook senders, their declarations and keys; and the declared inboxes for files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration_project.engine.contracts.uploads import FileInbox, read_inboxes
from orchestration_project.engine.contracts.webhooks.sources import (
    WebhookSource,
    derive_key,
    name_secrets,
    read_sources,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings, read_secrets
from orchestration_project.settings.loading import read_declared

if TYPE_CHECKING:
    from orchestration_project.registry import Answer, Probe


@dataclass(frozen=True)
class Sender:
    """A source of webhooks; without ``keys`` nothing is taken from it, and ``problem`` says why."""

    name: str
    declared: WebhookSource
    keys: tuple[bytes, ...] = ()
    problem: str = ""


def read_senders(settings: Settings) -> Mapping[str, Sender]:
    """Return the declared sources by name, each with its keys, the present one first.

    Raises:
        ConfigurationError: The file that declares them is not there, or cannot be used.
    """
    declared = read_declared_sources(settings)
    return {name: _build_sender(name, source) for name, source in declared.items()}


def read_declared_sources(settings: Settings) -> Mapping[str, WebhookSource]:
    """Return the declared sources by name.

    Raises:
        ConfigurationError: The file that declares them is not there, or cannot be used.
    """
    return read_declared(
        settings.webhooks_path,
        read_sources,
        noun="webhook sources",
        remedy="correct WEBHOOKS_FILE, or put the file there; `sources: {}` declares none",
    )


def read_declared_inboxes(settings: Settings) -> Mapping[str, FileInbox]:
    """Return the declared inboxes by name.

    Raises:
        ConfigurationError: The file that declares them cannot be read, or is invalid.
    """
    return read_declared(
        settings.inboxes_path,
        read_inboxes,
        noun="inboxes for files",
        remedy="correct INBOXES_FILE, or put the file there; `inboxes: {}` declares none",
    )


def _build_sender(name: str, declared: WebhookSource) -> Sender:
    present, earlier = name_secrets(name)
    try:
        secrets = read_secrets(present, earlier)
        if present not in secrets:
            return Sender(name, declared, problem=f"{present} is not set")
        keys = tuple(derive_key(name, declared, secret) for secret in secrets.values())
    except ConfigurationError as error:
        return Sender(name, declared, problem=str(error))
    return Sender(name, declared, keys)


def build_webhooks_probe(settings: Settings) -> "Probe":
    """Return the probe of the sources of webhooks: is each declared one verifiable."""
    from orchestration_project.registry import Answer, Probe

    def run() -> "Answer":
        senders = read_senders(settings)
        problems = [
            f"{sender.name}: {sender.problem}" for sender in senders.values() if sender.problem
        ]
        if problems:
            raise ConfigurationError(
                "nothing is taken from some webhook sources",
                expected=f"a secret for each source in {settings.webhooks_path}",
                found="; ".join(problems),
                remedy="set their secrets, and start the gateway again",
            )
        return Answer(f"{len(senders)} sources", is_applicable=bool(senders))

    return Probe("webhooks", (), lambda: "read the declared sources and their secrets", run)
