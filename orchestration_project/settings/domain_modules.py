"""Modules of one name in the folders of domains, such as their settings or tables."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType

DOMAINS = "orchestration_project.domains"


@cache
def import_domain_modules(name: str) -> tuple[ModuleType, ...]:
    """Import `domains/<domain>/<name>.py`, or the modules of that folder, of all domains."""
    return tuple(
        import_module(module)
        for domain in _list_modules(DOMAINS)
        for list_module in _list_modules(domain)
        if list_module == f"{domain}.{name}"
        for module in (_list_modules(list_module) or [list_module])
    )


def _list_modules(package: str) -> list[str]:
    """Return the modules and packages in a package by name; none: it is a module."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return sorted(f"{package}.{module.name}" for module in iter_modules(folders or ()))
