"""The API's route of a trace."""

from pydantic import Field

from orchestration_project.engine.contracts.api.traces import Trace
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import not_found
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.traces import find_unrecorded_runs, read_trace


class TraceWanted(Parameters):
    """A trace."""

    trace_id: str = Field(
        pattern=r"^[0-9a-f]{32}$",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
        description="W3C trace ID, 32 hex digits",
    )


async def one_trace(call: Call[TraceWanted, Body]) -> Trace:
    """Read the events of a trace: requests, runs, steps, partitions, fetches and loads."""
    return await call.services.in_thread(_read, call.services, call.query.trace_id)


def _read(services: Services, trace_id: str) -> Trace:
    ledger = Ledger(services.warehouse, services.clock)
    unrecorded = find_unrecorded_runs(services.instance, ledger, trace_id)
    trace = read_trace(services.warehouse, trace_id, unrecorded)
    if trace is None:
        raise not_found("trace not found")
    return trace


OPERATIONS = (
    Operation(
        "GET",
        "/traces/{trace_id}",
        "viewer",
        "Read a trace",
        one_trace,
        query=TraceWanted,
        answer=Trace,
        problems=(404,),
    ),
)
