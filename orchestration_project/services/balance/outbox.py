"""Equation of the outbox: planned = done + dead + waiting + superseded, per target."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, case, func, select

from orchestration_project.contracts.balance import Balance
from orchestration_project.engine.equations import BalanceFilter, Equation, SubjectBalance
from orchestration_project.tables.spine import outbox

STATES: Sequence[str] = ("done", "dead", "waiting", "superseded")


def read_planned(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield the equation of each topic: intentions by the versions of entities = rows by state.

    An entity counts in the range of its latest intention.
    """
    row = outbox.c
    states = [func.sum(case((row.state == state, 1), else_=0)).label(state) for state in STATES]
    entities = (
        select(row.topic, func.max(row.version_number).label("planned"), *states)
        .group_by(row.topic, row.entity)
        .having(chosen.holds(func.max(row.planned_at)))
        .subquery()
    )
    sums = [func.sum(entities.c[name]) for name in ("planned", *STATES)]
    statement = select(entities.c.topic, *sums).group_by(entities.c.topic).order_by("topic")
    for topic, planned, *counts in map(tuple, connection.execute(statement)):
        went_to = dict(zip(STATES, map(int, counts), strict=True))
        yield SubjectBalance(outbox.name, topic, Balance("intentions", int(planned), went_to))


OUTBOX_EQUATION = Equation(
    name="intentions",
    meaning="versions of entities = intentions that are done, dead, waiting or superseded",
    table_names=[outbox.name],
    read=read_planned,
)
