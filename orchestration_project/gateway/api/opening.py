"""The API behind the guard, which authenticates callers; requests to Dagster are audited."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope

from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway import attention
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.dagster import Dagster
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.mutations import Mutations
from orchestration_project.gateway.request import REAUTHENTICATE, current_user
from orchestration_project.registry import Registry
from orchestration_project.settings import Settings


@contextmanager
def opened_api(
    settings: Settings,
    warehouse: Warehouse,
    doors: AuthServices,
    dagster: ASGIApp,
    instance: dg.DagsterInstance,
    registry: Callable[[], Registry],
) -> Iterator[Sequence[BaseRoute]]:
    """Give the API's routes over ``instance``; ``dagster`` is its web server."""
    services = services_of(settings, warehouse, doors, dagster, instance, registry)
    try:
        yield [*routes(services), *attention.routes(services, doors.installation)]
    finally:
        services.threads.shutdown(cancel_futures=True)
        services.file_threads.shutdown(cancel_futures=True)


def services_of(
    settings: Settings,
    warehouse: Warehouse,
    doors: AuthServices,
    dagster: ASGIApp,
    instance: dg.DagsterInstance,
    registry: Callable[[], Registry],
) -> Services:
    """Return the services that the API uses."""

    async def refused(scope: Scope, operation: str) -> None:
        user = current_user()
        await doors.record(scope, operation, "refused", user=user, reason=f"{user.role} may not")

    return Services(
        settings=settings,
        clock=Clock(),
        instance=instance,
        warehouse=warehouse,
        store=open_store(settings),
        registry=registry,
        dagster=Dagster(Mutations(doors, dagster)),
        caller=current_user,
        refused=refused,
        still_known=_is_still_known,
        recheck_seconds=doors.recheck_seconds,
    )


async def _is_still_known(scope: Scope) -> bool:
    return await scope[REAUTHENTICATE]()
