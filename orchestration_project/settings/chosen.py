"""Choice of domains of an installation: DOMAINS, else what `orchestrate domains` stored.

Without either, a demo has its main domain, and real data those domains whose source is set. What is
stored are the differences from that, in a file of STATE_DIR: a domain or one of its datasets in
each line, with a minus where it was removed.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from orchestration_project.errors import ConfigurationError, UnknownNameError
from orchestration_project.settings.project import own_domain
from orchestration_project.settings.settings import Settings, settings_class

ALL = "all"
"""Stands for every domain, or every dataset."""

FILE = "domains"
"""File in STATE_DIR of what was added and removed."""

OPERATIONS = "operations"
"""The domain that every installation has."""

OF_DEMO = frozenset({"finra"})
"""The domains that a demo has unless others are chosen."""


BEGINNINGS: Mapping[str, Sequence[str]] = {
    "cboe": ("market_volume_", "off_exchange_share_"),
    "events": ("inbox", "routing", "uploads", "webhooks"),
    "finra": ("fact_bond_",),
    "saas": ("peopleforce>", "jira>"),
}
"""How names of tables and topics of a domain begin that do not begin with its own name."""


class Choice(NamedTuple):
    """Whether a domain is on.

    Attributes:
        is_on: Whether this installation has it.
        reason: Why, in words.
        remedy: What turns it on; empty if it is on.
    """

    is_on: bool
    reason: str
    remedy: str = ""


def known_domains() -> Sequence[str]:
    """Return the names of all domains, in order; the project's own is one of them."""
    return sorted(filter(None, {own_domain(), *packaged_domains()}))


def packaged_domains() -> Sequence[str]:
    """Return the names of the package's domains, in order."""
    bases = settings_class().__mro__
    return sorted({OPERATIONS, *filter(None, (vars(base).get("domain") for base in bases))})


def beginnings_of(domain: str) -> tuple[str, ...]:
    """Return how names of tables and topics of a domain of the package begin."""
    return (f"{domain}_", f"{domain}/", *BEGINNINGS.get(domain, ()))


def domain_of_name(name: str) -> str:
    """Return the domain of a table, topic, schedule or sensor; empty: it belongs to none alone."""
    for domain in known_domains():
        if name == domain or name.startswith(beginnings_of(domain)):
            return domain
    return ""


def domain_choices(settings: Settings) -> Mapping[str, Choice]:
    """Return of each domain whether this installation has it, by name.

    Raises:
        ConfigurationError: DOMAINS or the stored file names an unknown domain.
    """
    known_names = known_domains()
    if settings.domains:
        require_known("DOMAINS", settings.domains, [ALL, *known_names])
        return {name: _choose_given(name, settings.domains) for name in known_names}
    stored = read_stored(settings)
    return {name: _choose_stored(name, settings, stored) for name in known_names}


def domains_on(settings: Settings) -> frozenset[str]:
    """Return the domains that this installation has.

    Raises:
        ConfigurationError: DOMAINS or the stored file names an unknown domain.
    """
    return frozenset(name for name, choice in domain_choices(settings).items() if choice.is_on)


def require_on(settings: Settings, domain: str) -> None:
    """Make sure that this installation has a domain.

    Raises:
        ConfigurationError: It does not.
    """
    choice = domain_choices(settings)[domain]
    if not choice.is_on:
        raise ConfigurationError(
            f"the domain {domain} is off", found=choice.reason, remedy=choice.remedy
        )


def off_domain(settings: Settings, name: str) -> str:
    """Return the domain of a job, table or schedule by its name if it is off; empty if it is not.

    Raises:
        ConfigurationError: DOMAINS or the stored file names an unknown domain.
    """
    domain = domain_of_name(name)
    return "" if not domain or domain_choices(settings)[domain].is_on else domain


def known_datasets() -> Mapping[str, str]:
    """Return the domain of each optional dataset, by names such as ``finra/reg_sho_daily``."""
    return {
        f"{base.domain}/{name}": base.domain
        for base in settings_class().__mro__
        if issubclass(base, Settings)
        for name in vars(base).get("optional_datasets", ())
    }


def datasets_on(settings: Settings, domain: str) -> frozenset[str]:
    """Return the optional datasets of a domain that this installation has.

    Its setting, e.g. FINRA_DATASETS, names them; if that is empty, those count that are stored.

    Raises:
        ConfigurationError: The setting names an unknown dataset.
    """
    setting = f"{domain}_datasets"
    chosen = getattr(settings, setting)
    known_names = [
        name.partition("/")[2] for name, owner in known_datasets().items() if owner == domain
    ]
    if not chosen:
        stored = read_stored(settings)
        return frozenset(name for name in known_names if f"{domain}/{name}" in stored)
    require_known(setting.upper(), chosen, [ALL, *known_names])
    return frozenset(known_names if ALL in chosen else chosen)


def require_known(setting: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Make sure that a setting names only what there is.

    Raises:
        ConfigurationError: It does not.
    """
    if unknown := [name for name in given if name not in known]:
        raise UnknownNameError(
            f"invalid {setting}", expected=f"names of {', '.join(known)}", found=unknown[0]
        )


def stored_file(settings: Settings) -> Path:
    """Return the file of what was added and removed."""
    return settings.state_path / FILE


def read_stored(settings: Settings) -> Sequence[str]:
    """Return the added names, and the removed ones with a minus; none if nothing is stored.

    Raises:
        ConfigurationError: The file cannot be read, or names an unknown domain or dataset.
    """
    file = stored_file(settings)
    try:
        stored = file.read_text().split()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the stored choice of domains cannot be read",
            expected=f"a text file at {file}",
            found=type(error).__name__,
            remedy="correct its permissions, or delete it and add the domains again",
        ) from None
    names = [entry.removeprefix("-") for entry in stored]
    require_known(str(file), names, [*known_domains(), *known_datasets()])
    return stored


def change_stored(settings: Settings, added: Sequence[str], removed: Sequence[str]) -> None:
    """Store that domains or datasets were added or removed; a later change replaces an earlier one.

    Raises:
        ConfigurationError: The file cannot be read, or a domain is unknown.
    """
    file = stored_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _lock_folder(file.parent):
        changed = {*added, *removed}
        kept_names = [
            entry for entry in read_stored(settings) if entry.removeprefix("-") not in changed
        ]
        _write(file, [*kept_names, *added, *(f"-{name}" for name in removed)])


def replace_stored(settings: Settings, entries: Sequence[str]) -> None:
    """Store the choice of a backup in place of another one.

    Args:
        settings: The settings of this process.
        entries: Added names, and removed ones with a minus.

    Raises:
        ConfigurationError: An entry is unknown to this release.
    """
    known_names = [*known_domains(), *known_datasets()]
    require_known(
        "domains of the backup", [name.removeprefix("-") for name in entries], known_names
    )
    file = stored_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _lock_folder(file.parent):
        _write(file, entries)


def _write(file: Path, entries: Iterable[str]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text("".join(f"{entry}\n" for entry in sorted(entries)))
    partial.replace(file)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Let no other process change the file meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _choose_given(name: str, given: Sequence[str]) -> Choice:
    if name == OPERATIONS:
        return Choice(True, "every installation has it")
    if name in given or ALL in given:
        return Choice(True, "DOMAINS names it")
    return Choice(False, "DOMAINS does not name it", f"add {name} to DOMAINS")


def _choose_stored(name: str, settings: Settings, stored: Sequence[str]) -> Choice:
    """Return the choice of a domain where DOMAINS is not set."""
    if name == own_domain():
        return Choice(True, "the project declares it")
    if name == OPERATIONS or name in stored:
        return Choice(True, "it was added" if name in stored else "every installation has it")
    remedy = f"orchestrate domains add {name}, or add it to DOMAINS"
    if f"-{name}" in stored:
        return Choice(False, "it was removed", remedy)
    if settings.is_demo:
        is_on = name in OF_DEMO
        reason = "the demo has it" if is_on else "the demo starts without it"
        return Choice(is_on, reason, "" if is_on else remedy)
    setting = f"{name}_source"
    if getattr(settings, setting, None) is not None:
        return Choice(True, f"{setting.upper()} is set")
    if setting in type(settings).model_fields:
        return Choice(False, f"{setting.upper()} is not set", f"{setting.upper()}, or {remedy}")
    return Choice(False, "it was not added", remedy)
