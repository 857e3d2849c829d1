"""Repairs of the artifacts of these settings, with the connections of all domains."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.environment import open_second_store
from orchestration_project.engine.recovery import Recovery, RecoveryEnvironment
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Environment, Registry
from orchestration_project.services.repair.repairing import RenderFile, Repairs
from orchestration_project.settings import Settings


@contextmanager
def open_repairs(
    registry: Registry,
    settings: Settings,
    *,
    warehouse: Warehouse,
    artifacts: ArtifactStore,
    render: RenderFile,
    clock: Clock,
    run_id: str,
) -> Iterator[Repairs]:
    """Give repairs that open each connection once, when a capture of its source is to be had.

    Args:
        registry: Its domains say how their captures can be had again.
        settings: Name the second store.
        warehouse: The database.
        artifacts: The store with damaged objects.
        render: Renders exported files again.
        clock: The database's time.
        run_id: Dagster run.

    Raises:
        ConfigurationError: The second store cannot be opened.
    """
    opened: dict[str, Any] = {}
    with ExitStack() as stack:
        yield Repairs(
            warehouse=warehouse,
            artifacts=artifacts,
            second_store=open_second_store(settings),
            recoveries=registry.whole.registered(Recovery),
            environment=RecoveryEnvironment(
                settings=settings,
                warehouse=warehouse,
                clock=clock,
                open=partial(_opened, registry, settings, stack, opened),
            ),
            render=render,
            clock=clock,
            run_id=run_id,
        )


def _opened(
    registry: Registry, settings: Settings, stack: ExitStack, opened: dict[str, Any], name: str
) -> Any:
    """Return a connection, opened at its first use.

    Raises:
        ConfigurationError: The settings of its domain are invalid, or it has no source.
    """
    if name not in opened:
        [domain] = [each for each in registry.whole.domains if name in each.resources]
        domain.require_valid(settings)
        connection = domain.resources[name]
        opened[name] = stack.enter_context(connection.open(Environment(settings=settings)))
    return opened[name]
