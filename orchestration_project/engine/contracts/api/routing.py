"""Models of the API's answers about routing of webhooks, which the client reads too."""

from typing import Any

from pydantic import AwareDatetime, BaseModel, Field


class RoutingRuleInEffect(BaseModel):
    """A routing rule in effect."""

    rule_id: str = Field(description="Name of the rule")
    version: int = Field(description="Version, from 1, incremented by each edit")
    rule: dict[str, Any] = Field(description="Definition, as the job events_edit_routing takes it")


class RoutingRules(BaseModel):
    """All routing rules in effect."""

    version: str = Field(description="Version of all rules; an edit names the one it started from")
    rules: list[RoutingRuleInEffect] = Field(description="By name; all that match apply")


class RoutingChange(BaseModel):
    """Difference that edited rules would make for a recorded delivery."""

    source: str = Field(description="Source of the delivery")
    delivery_id: str = Field(description="ID of the delivery")
    rule_id: str = Field(description="Name of the rule")
    before: str = Field(description="Action by the rules in effect; empty: none")
    after: str = Field(description="Action by the edited rules; empty: none")


class RoutingDryRun(BaseModel):
    """Effect that edited rules would have had on the latest deliveries."""

    version: str = Field(description="Version of the rules in effect, which an edit names")
    delivery_count: int = Field(description="Deliveries that were planned")
    planned: dict[str, int] = Field(description="Planned actions by rule")
    refused: dict[str, int] = Field(description="Dead letters by rule")
    difference_count: int = Field(description="Differences")
    differences: list[RoutingChange] = Field(description="The first 100 of them")


class RoutingDeadLetter(BaseModel):
    """An action that could not be planned, or that its target refused."""

    source: str = Field(description="Source of the delivery")
    delivery_id: str = Field(description="ID of the delivery")
    rule_id: str = Field(description="Name of the rule")
    version_number: int = Field(description="Version of the rule")
    action: str = Field(description="Action, such as http_request")
    target: str = Field(description="Target of the action")
    stage: str = Field(description="Stage: plan or apply")
    reason_code: str = Field(description="Kind of the refusal, such as wrong_type")
    reason: str = Field(description="Refusal in words")
    failed_at: AwareDatetime = Field(description="UTC time of the refusal")


class RoutingDeadLetters(BaseModel):
    """Dead letters that are not replayed, the latest first."""

    letters: list[RoutingDeadLetter] = Field(description="Dead letters")
