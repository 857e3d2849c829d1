"""Proposals of selectors after a change of layout: made by one job, decided by a person in another.

Nothing changes by itself. The site file stays as a person wrote it: accepted selectors are stored,
and apply over it until its item rules change.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.specs import build_asset_spec
from orchestration_project.assets.web.crawls import CRAWLS, GROUP, OWNERS, SITE_FILES
from orchestration_project.assets.web.replay import ReplayEvent, SiteReplay, find_site
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.tables import web_proposals
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions, show_configured
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.proposals import (
    ACCEPT_JOB,
    ACCEPT_OP,
    STATES,
    Proposal,
    Proposals,
    Search,
    apply_accepted,
)
from orchestration_project.resources.web.replaying import day_of_replay
from orchestration_project.services.access.approvals import (
    ApprovalDemand,
    read_person,
    require_approval,
    use_of,
)
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import build_schema, log_metadata, redact_table

PROPOSALS = dg.AssetKey([GROUP, "proposals"])
PROPOSE_OP, PROPOSE_JOB = "propose_web_selectors", "web_propose_selectors"

MAX_ROWS_LISTED = 100
"""Differences that a table lists; the table web_proposals has up to 200."""


class SelectorSearch(JobOptions):
    """Site for which selectors are proposed."""

    site: str = Field(examples=["shop"], description="Site, as its file is named.")


class Decision(StrEnum):
    """Decisions on a proposal."""

    accept = "accept"
    reject = "reject"


class ProposalDecision(JobOptions):
    """Decision on a proposal, and who makes it."""

    proposal_id: str = Field(
        examples=["shop-0123456789ab"], description="ID of the proposal, as in web/proposals."
    )
    decision: Decision = Field(
        description="accept: apply its selectors and load the items again; reject: keep the rules."
    )
    reason: str = Field(
        min_length=1, examples=["compared ten products"], description="Reason of the decision."
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )


show_configured(SelectorSearch, "site", sorted(SITE_FILES.sites))


@dg.multi_asset(
    name=PROPOSE_OP,
    specs=[
        build_asset_spec(
            PROPOSALS,
            str(web_proposals.comment),
            build_schema(web_proposals.columns),
            "ledger",
            *(
                key
                for asset in CRAWLS.values()
                for key in asset.keys
                if key.path[-1].endswith("_items")
            ),
            owners=OWNERS,
            **{"dagster/table_name": web_proposals.name},
        )
    ],
)
def propose_selectors(
    context: dg.AssetExecutionContext,
    config: SelectorSearch,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Propose selectors for fields that fewer items have than before; nothing else changes."""
    proposals = Proposals(warehouse, Captures(artifacts), clock, run_id=context.run.run_id)
    search = proposals.propose(find_site(config.site))
    return dg.MaterializeResult(
        asset_key=PROPOSALS, metadata=log_metadata(_describe_search(config.site, search))
    )


def _describe_search(site: str, search: Search) -> Mapping[str, Any]:
    rows = {"table_rows": link(build_rows_path(web_proposals.name, f"site={site}"))}
    if search.proposal is None:
        return {"outcome": _explain_none(site, search), **rows}
    return {**_describe_proposal(search.proposal), **rows}


def _explain_none(site: str, search: Search) -> str:
    """Return why nothing is proposed."""
    if search.day is None or search.day_before is None:
        return f"no proposal: {site} has no captured page or no loaded item to compare with"
    if not search.fallen:
        return f"no proposal: as many items of {search.day} as before have each field"
    return (
        f"no proposal: no element of {search.day} has the earlier values of "
        f"{', '.join(search.unsolved)}; what to do: correct the site file"
    )


def _describe_proposal(proposal: Proposal) -> Mapping[str, Any]:
    """Return the metadata of a proposal: what it changes, and how it was tried."""
    evidence = proposal.evidence
    what_to_do = {
        "open": f"compare the differences; then run the job {ACCEPT_JOB} with proposal_id "
        f"{proposal.proposal_id} and decision accept or reject",
        "rejected": "this proposal was rejected before; correct the site file",
    }
    return {
        "outcome": f"proposal {proposal.proposal_id} is {proposal.state}",
        "proposal_id": proposal.proposal_id,
        "proposal_state": proposal.state,
        "what_to_do": what_to_do.get(proposal.state, "nothing: it is applied"),
        "day": evidence["day"],
        "selectors": redact_table(_list_selectors(proposal)),
        "items_before": evidence["items_before"],
        "items_without_proposal": evidence["items_without_proposal"],
        "items_after": evidence["items_after"],
        "change": evidence["difference"],
        "differences": redact_table(evidence["differences"][:MAX_ROWS_LISTED]),
        **({"unsolved": ", ".join(evidence["unsolved"])} if evidence["unsolved"] else {}),
    }


def _list_selectors(proposal: Proposal) -> Sequence[Mapping[str, object]]:
    evidence = proposal.evidence
    rows: list[Mapping[str, object]] = []
    for name, both in proposal.fields.items():
        best, rates = evidence["candidates"][name][0], evidence["fill_rates"][name]
        rows.append(
            {
                "field": name,
                "old_selector": json.dumps(both["old"], sort_keys=True),
                "new_selector": json.dumps(both["new"], sort_keys=True),
                "equal_values": f"{best['agreed_count']} of {best['total_count']}",
                "equal_values_on_earlier_pages": f"{best['agreed_earlier_count']} of "
                f"{best['total_earlier_count']}",
                "fill_rate_before": f"{rates['before']:.1%}",
                "fill_rate_without_proposal": f"{rates['without_proposal']:.1%}",
                "fill_rate_after": f"{rates['after']:.1%}",
            }
        )
    return rows


propose_job = dg.define_asset_job(
    PROPOSE_JOB,
    selection=dg.AssetSelection.assets(propose_selectors),
    description=describe_job(
        "Proposes selectors for fields that fewer items have than before, by captured pages.",
        PROPOSE_OP,
        SelectorSearch,
    ),
    tags={"domain": GROUP},
)


@dg.op(name=ACCEPT_OP, out=dg.Out(dg.Nothing))
def decide_proposal(
    context: dg.OpExecutionContext,
    config: ProposalDecision,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[WebSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Generator[ReplayEvent, None, None]:
    """Record the decision; of an accepted proposal, load the items of the latest crawl again."""
    captures = Captures(artifacts)
    who = find_editor(context.run.tags, config.who)
    if not who or not config.reason.strip():
        raise ConfigurationError(
            "the decision has no user or no reason",
            expected="who and reason in the config, or the run's tag user",
            remedy="name who decides, and why",
        )
    proposals = Proposals(warehouse, captures, clock, run_id=context.run_id)
    row = proposals.find(config.proposal_id)
    declared = find_site(row["site"])
    decision, reason = config.decision.value, config.reason.strip()
    if decision == Decision.accept:
        _require_approval(context, warehouse, row["site"], config)
    proposals.decide(declared, config.proposal_id, decision, by=who, reason=reason)
    metadata = {
        "outcome": f"proposal {config.proposal_id} is {STATES[decision]}",
        "proposal_id": config.proposal_id,
        "proposal_state": STATES[decision],
        "decided_by": who,
        "reason": reason,
    }
    yield dg.AssetMaterialization(asset_key=PROPOSALS, metadata=metadata)
    if decision == Decision.accept:
        site = apply_accepted(warehouse, declared)
        proposed_day = date.fromisoformat(json.loads(row["evidence"])["day"])
        day = max(proposed_day, day_of_replay(warehouse, captures, site.site, None))
        replay = SiteReplay(context, site, day, captures, clock, settings, warehouse)
        loaded = yield from replay.load(allow_drift=False)
        metadata |= {"change": loaded["outcome"], "day": day.isoformat()}
    context.add_output_metadata(metadata)


def _require_approval(
    context: dg.OpExecutionContext, warehouse: Warehouse, site: str, config: ProposalDecision
) -> None:
    """Require that a second person approved the proposal, where the installation requests it.

    Raises:
        OrchestrationError: The second person is missing.
    """
    demand = ApprovalDemand(
        "accept",
        {"site": site, "proposal_id": config.proposal_id},
        config.reason.strip(),
        read_person(context.run.tags),
        use_of(context.run),
    )
    require_approval(warehouse, demand)


@dg.job(
    name=ACCEPT_JOB,
    description=describe_job(
        "Accepts or rejects a proposal of selectors; accepted ones apply over the site file until "
        "its item rules change, and the items of the latest crawl are loaded again.",
        ACCEPT_OP,
        ProposalDecision,
    ),
    tags={"domain": GROUP},
)
def accept_job() -> None:
    """Decide on a proposal."""
    decide_proposal()
