"""Two systems in memory, a database, and the runs between them: shared by tests of reconciling."""

from datetime import timedelta

from sqlalchemy import select

from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.domains.saas.tables import saas_audit_log
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import put_in_effect
from tests.resources.saas_systems import systems_in_memory

ALL = {
    "rule_id": "all",
    "priority": 9,
    "action": "sync",
    "target_project": "IT",
    "issue_type": "Task",
}
LABELS = {"target_field": "labels", "source_type": "static", "value": "hr"}


class SaasSync:
    """Two systems, a database, and the rules between them."""

    def __init__(self, warehouse, clock) -> None:
        self.warehouse, self.clock, self.runs = warehouse, clock, 0
        self.systems = systems_in_memory("peopleforce")
        self.tasks, self.issues = self.systems.tasks, self.systems.issues
        self.faults = self.systems.faults
        self.issues.now = clock.now
        self.rule(ALL)

    def rule(self, *rules) -> None:
        given = [SyncRule.model_validate(rule) for rule in rules]
        with self.warehouse.writing() as connection:
            put_in_effect(connection, given, by="test", at=self.clock.now(), run_id="test")

    def reconciler(self) -> Reconciler:
        self.runs += 1
        return Reconciler(
            self.warehouse,
            self.clock,
            self.systems.source,
            self.systems.target,
            run_id=f"run {self.runs}",
        )

    def round(self):
        """Look and apply as a run does, an hour after the one before."""
        self.clock.at += timedelta(hours=1)
        reconciler = self.reconciler()
        poll_result = reconciler.poll()
        return poll_result, reconciler.apply()

    def rows(self, table, *names, **where):
        wanted = select(*(table.c[name] for name in names)).order_by(*table.primary_key.columns)
        wanted = wanted.where(*(table.c[name] == value for name, value in where.items()))
        with self.warehouse.reading() as connection:
            return [tuple(row) for row in connection.execute(wanted)]

    def operations(self):
        return [operation for (operation,) in self.rows(saas_audit_log, "operation")]

    @property
    def issue(self):
        [issue] = self.issues.rows.values()
        return issue
