"""The Dagster definitions: the domains of the catalog, assembled once into `defs`."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Pause the collector while modules are imported: little of it is garbage, and it takes 0.4 s.

    Later collections leave out the objects that exist at the end: it saves 0.2-0.4 s per load.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


with _pause_garbage_collection():
    import dagster as dg

    from orchestration_project.catalog import REGISTRY
    from orchestration_project.catalog.configuration import configuration_asset
    from orchestration_project.catalog.resources import resource_definitions
    from orchestration_project.errors import ConfigurationError
    from orchestration_project.instance.logs import write_in_log_format
    from orchestration_project.instance.run_config import in_process_if_valid
    from orchestration_project.registry import DefinitionsMaker, Registry, SensorMaker
    from orchestration_project.settings import load_shared_settings, off_domain, require_on
    from orchestration_project.settings.chosen import known_domains, require_known


def build(registry: Registry = REGISTRY, **overrides: Any) -> dg.Definitions:
    """Return the definitions of the registry's selected domains.

    Args:
        registry: The domains; ``REGISTRY.select("saas")`` gives a code location of one.
        overrides: Resources that replace those of the settings, by name, as in tests.
    """
    domains, settings = registry.selected, load_shared_settings()
    started = [domain for domain in domains if domain.has_source(settings)]
    definitions_list = [
        maker.make(registry, settings)
        for maker in replace(registry, domains=domains).defined(DefinitionsMaker)
    ]
    sensors_of_all = [
        maker.make(registry) for maker in dict.fromkeys(registry.defined(SensorMaker))
    ]
    return dg.Definitions(
        assets=[
            *(item for domain in domains for item in domain.definitions.assets),
            *(configuration_asset(domain) for domain in domains),
            *(asset for of_domain in definitions_list for asset in of_domain.assets),
        ],
        asset_checks=[check for domain in domains for check in domain.definitions.asset_checks],
        jobs=[
            *(job.definition for domain in domains for job in domain.definitions.jobs),
            *(job for of_domain in definitions_list for job in of_domain.jobs),
        ],
        schedules=[
            *(
                schedule_definition
                for domain in started
                for schedule_definition in domain.definitions.schedules
            ),
            *(schedule for of_domain in definitions_list for schedule in of_domain.schedules),
        ],
        sensors=[
            *(sensor for sensor in sensors_of_all if sensor),
            *(
                sensor_definition
                for domain in started
                for sensor_definition in domain.definitions.sensors
            ),
        ],
        resources={**resource_definitions(registry), **overrides},
        executor=in_process_if_valid(
            registry
        ),  # 0.4 s a run where a process for each step takes 61 s
    )


def registry_of_this_host() -> Registry:
    """Return the registry with those domains that are on and that CODE_DOMAINS names.

    Without a value, it has all that are on.

    Raises:
        ConfigurationError: CODE_DOMAINS names an unknown domain, or one that is off.
    """
    settings = load_shared_settings()
    code_domains = settings.code_domains
    if not code_domains:
        return REGISTRY
    require_known(
        "CODE_DOMAINS", [name.removeprefix("-") for name in code_domains], known_domains()
    )
    named = [name for name in code_domains if not name.startswith("-")]
    for name in named:
        require_on(settings, name)
    names = named or [domain.name for domain in REGISTRY.domains]
    return REGISTRY.select(*(name for name in names if f"-{name}" not in code_domains))


def refuse_job_that_is_off(arguments: Sequence[str]) -> None:
    """End `dagster job execute` of a job whose domain is off; Dagster would say it is unknown.

    Args:
        arguments: The command line, beginning with the program.
    """
    program = Path(arguments[0])  # of `python -m dagster`, a module of its package
    if "dagster" not in (program.name, program.parent.name) or "execute" not in arguments[1:3]:
        return
    names = [after for before, after in pairwise(arguments) if before in ("-j", "--job")]
    settings = load_shared_settings()
    for off in filter(None, (off_domain(settings, name) for name in names)):
        try:
            require_on(settings, off)
        except ConfigurationError as error:
            sys.exit(str(error))


refuse_job_that_is_off(sys.argv)

with _pause_garbage_collection():
    defs = build(registry_of_this_host())

write_in_log_format()
