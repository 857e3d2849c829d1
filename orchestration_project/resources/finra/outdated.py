"""Which weeks are to be loaded: what the source has is compared with what was taken."""

from collections.abc import Sequence

from orchestration_project.domains.finra.selection import TierWeek, outdated
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import SourceError
from orchestration_project.resources.finra.source import FinraSource, versions_of
from orchestration_project.tables.finra import finra_otc_weekly


def outdated_weeks(
    finra: FinraSource,
    warehouse: Warehouse,
    wanted: Sequence[TierWeek],
    *,
    only_taken: bool = False,
    full: bool = False,
) -> tuple[list[TierWeek], dict[str, SourceError]]:
    """Return the weeks that are missing or changed, and why the source says nothing of others.

    With ``only_taken`` the missing ones are left out; with ``full`` the unchanged ones count too.

    Raises:
        TransientError: The source does not answer now.
    """
    seen = warehouse.known_versions(finra_otc_weekly)
    taken = [each for each in wanted if each.key in seen]
    chosen = taken if only_taken else wanted
    if full:
        return sorted(chosen), {}
    now, refusals = versions_of(finra, taken)
    return outdated(
        [each for each in chosen if each.key not in refusals], seen=seen, now=now
    ), refusals
