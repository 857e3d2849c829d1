"""Recomputation of all equations of a range, and a list of those that do not balance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, case, func, select

from orchestration_project.engine.contracts.balance import Balance, Imbalance
from orchestration_project.engine.equations import BalanceFilter, Equation, SubjectBalance
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.balance.loads import LOAD_EQUATIONS
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


MAX_IMBALANCES = 1_000
"""Imbalances that a verdict names; more are only counted."""


@dataclass
class EquationCounts:
    """Numbers of subjects of an equation, by state."""

    balanced: int = 0
    unbalanced: int = 0
    not_counted: int = 0
    not_recorded: int = 0

    def add(self, subject: SubjectBalance) -> None:
        """Count a subject."""
        state = subject.balance.state if subject.is_recorded else "not_recorded"
        setattr(self, state, getattr(self, state) + 1)


@dataclass
class BalanceVerdict:
    """Result of a recomputation.

    Attributes:
        counts: Subjects by table and name of the equation.
        imbalances: Equations with a difference, the first `MAX_IMBALANCES`.
    """

    counts: dict[tuple[str, str], EquationCounts] = field(default_factory=dict)
    imbalances: list[Imbalance] = field(default_factory=list)

    @property
    def imbalance_count(self) -> int:
        """Number of equations with a difference."""
        return sum(counts.unbalanced for counts in self.counts.values())

    def add(self, subject: SubjectBalance) -> None:
        """Count a subject, and keep it if it does not balance."""
        pair = (subject.table_name, subject.balance.equation)
        self.counts.setdefault(pair, EquationCounts()).add(subject)
        if subject.balance.difference and len(self.imbalances) < MAX_IMBALANCES:
            self.imbalances.append(Imbalance(subject.table_name, subject.subject, subject.balance))


def list_equations(registry: Registry) -> Sequence[Equation]:
    """Return the equations of loads and those of all domains."""
    return [*LOAD_EQUATIONS, OUTBOX_EQUATION, *registry.whole.registered(Equation)]


def verify_balances(
    warehouse: Warehouse, equations: Sequence[Equation], chosen: BalanceFilter
) -> BalanceVerdict:
    """Compute equations of one state of the database; nothing is written."""
    verdict = BalanceVerdict()
    with warehouse.reading() as connection:
        for equation in equations:
            if equation.concerns(chosen.table_name):
                for subject in equation.read(connection, chosen):
                    verdict.add(subject)
    return verdict
