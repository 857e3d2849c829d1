"""The route that explains a published number."""

from pydantic import Field

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.contracts.api.explanation import NumberExplanation
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.gateway.api.data import TableName, Text, require_unmasked
from orchestration_project.gateway.api.operation import Body, Call, Operation
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.explanation import choose_number, explain_number
from orchestration_project.settings.project import own_files


class ExplainedNumber(TableName):
    """Number to explain."""

    key: Text = Field(description="Key of the row, the partition first, such as T1|2026-10-05|AAAI")
    column: Name = Field(description="Column of the number")


async def read_explanation(call: Call[ExplainedNumber, Body]) -> NumberExplanation:
    """Read how a published number came about: formula, rows, captures, last change, signature."""
    require_unmasked(call.caller, call.query.name)
    return await call.services.in_thread(_explain, call.services, call.query)


def _explain(services: Services, wanted: ExplainedNumber) -> NumberExplanation:
    store = Captures(services.store)
    try:
        if own_files():
            from orchestration_project.engine.own_derived import find_derived
            from orchestration_project.resources.own_derived import explain_value
            from orchestration_project.services.own_derived_explanation import require_query
            from orchestration_project.services.own_explanation import explain_own, find_own

            declaration, derived = find_own(wanted.name), find_derived(wanted.name)
            with services.warehouse.reading(seconds=services.read_seconds) as connection:
                if declaration:
                    return explain_own(connection, store, declaration, wanted.key, wanted.column)
                if derived:
                    require_query(derived)
                    return explain_value(derived, connection, wanted.key, wanted.column)
        rules = services.registry().whole.rules
        number = choose_number(rules, wanted.name, wanted.key, wanted.column)
        with services.warehouse.reading(seconds=services.read_seconds) as connection:
            return explain_number(connection, store, number)
    except (ConfigurationError, ContractError) as error:
        raise problem_of(error, 422) from error


OPERATIONS = (
    Operation(
        "GET",
        "/tables/{name}/explanation",
        "viewer",
        "Explain a number",
        read_explanation,
        query=ExplainedNumber,
        answer=NumberExplanation,
    ),
)
