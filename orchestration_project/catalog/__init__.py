"""The domains of the project, each one value in a module of its name, such as `fx.FX`.

`REGISTRY` is made at its first use, of the domains that this installation has: the modules of the
others are imported at the first use of `Registry.whole`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration_project.registry import Domain, Registry

    REGISTRY: Registry


def import_domain(name: str) -> "Domain":
    """Return the value of a domain, by its name or that of the project.

    Raises:
        ConfigurationError: A declaration of the project is wrong.
    """
    from orchestration_project.settings.project import own_domain

    if name == own_domain():
        from orchestration_project.catalog.own import import_own_domain

        return import_own_domain()
    return getattr(import_module(f"{__name__}.{name}"), name.upper())


def import_all_domains() -> "tuple[Domain, ...]":
    """Return the values of all domains, in order."""
    from orchestration_project.settings.chosen import known_domains

    return tuple(map(import_domain, known_domains()))


def _build_registry() -> "Registry":
    """Return the registry of the domains that this installation has.

    Raises:
        ConfigurationError: DOMAINS, or what is stored, names an unknown domain.
    """
    from orchestration_project.registry import Registry
    from orchestration_project.settings import domains_on, load_shared_settings

    on = sorted(domains_on(load_shared_settings()))
    return Registry.of([import_domain(name) for name in on], import_all_domains)


def __getattr__(name: str) -> Any:
    """Return the registry, made at its first use."""
    if name != "REGISTRY":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _build_registry()
    return globals()[name]
