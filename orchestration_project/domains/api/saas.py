"""Rules and audit log of reconciliation as the API tells of them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class RuleInEffect(BaseModel):
    """A rule in effect."""

    rule_id: str = Field(description="Its name")
    version: int = Field(description="From 1, rises with each edit")
    disabled_reason: str | None = Field(description="What the target refuses of it; null: nothing")
    rule: dict[str, Any] = Field(description="What it says, as the job saas_edit_rules takes it")


class RulesInEffect(BaseModel):
    """All rules in effect."""

    rules: list[RuleInEffect] = Field(description="In the order in which they are asked")


class AuditEntry(BaseModel):
    """A thing that reconciliation did or decided."""

    entry_id: str = Field(description="Sorts as it happened")
    happened_at: datetime = Field(description="UTC time")
    system: str = Field(description="The source; of rules: rules")
    entity_type: str = Field(description="Such as task; of rules: rule")
    entity_id: str = Field(description="The source's id; of rules: their name")
    issue_key: str | None = Field(description="Of the issue; null: there is none")
    operation: str = Field(description="What was done, one word")
    detail: dict[str, Any] = Field(description="What changed, or why")
    run_id: str = Field(description="Dagster run")


class AuditEntries(BaseModel):
    """A page of the audit log."""

    entries: list[AuditEntry] = Field(description="The latest first")
    next_cursor: str | None = Field(description="For the next page; null: this is the last")
