"""The part of the client that is about PeopleForce's tasks and Jira's issues."""

from collections.abc import Iterator

from orchestration_project.client.asking import Asking
from orchestration_project.domains.api.saas import (
    AuditEntries,
    AuditEntry,
    RuleInEffect,
    RulesInEffect,
)


class SaasMethods(Asking):
    """The part of the client that is about two systems that are kept in agreement."""

    def saas_rules(self) -> list[RuleInEffect]:
        """Return the rules in effect, in the order in which they are asked."""
        return self._get("/saas/rules", RulesInEffect).rules

    def saas_audit(
        self,
        *,
        entity: str | None = None,
        issue: str | None = None,
        operation: str | None = None,
        text: str | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield what was done and fits all that is said, the latest first."""
        wanted = {"entity": entity, "issue": issue, "operation": operation, "text": text}
        for page in self._pages("/saas/audit", AuditEntries, **wanted):
            yield from page.entries
