"""FINRA's symbol master: every symbol over time, its changes, and candidates of renames."""

from typing import Any

from sqlalchemy import Column

from orchestration_project.domains.finra.tables.weekly import TIERS
from orchestration_project.tables.schema import (
    count,
    day,
    flag,
    moment,
    ratio,
    table,
    text,
)


def _declare_publication(rows: str) -> list[Column[Any]]:
    """Return the columns that date rows by publication; older ones were derived without them."""
    return [
        moment("published_at", f"Latest last_update_date of {rows}, at 00:00", optional=True),
        flag(
            "is_stale",
            "Whether a week was loaded or changed since; until it is derived again",
            optional=True,
        ),
    ]


finra_symbols = table(
    "finra_symbols",
    "One row per symbol: the weeks, tiers and issue names under which it traded.",
    text("symbol", "FINRA's issue symbol, exact to the byte", key=True),
    text("tier", "Tier of the last week: T1, T2 or OTCE", values=TIERS),
    text("issue_name", "Latest name of the security", optional=True),
    day("first_week", "Monday of the first loaded week with trading"),
    day("last_week", "Monday of the last loaded week with trading"),
    count("week_count", "Weeks with trading"),
    count("tier_move_count", "Changes of tier from one week with trading to the next"),
    count("issue_name_count", "Issue names, which differ in letters or digits"),
    flag(
        "is_reuse_candidate",
        "Whether another company may use the symbol since: see finra_symbol_changes",
    ),
    moment("known_from", "UTC time of the latest load of its rows"),
    *_declare_publication("its rows"),
)

finra_symbol_changes = table(
    "finra_symbol_changes",
    "One row per symbol, week and kind of change since the symbol's week before.",
    text("symbol", "FINRA's issue symbol", key=True),
    day("week_start", "Monday of the first week after the change", key=True),
    text(
        "kind",
        "Kind: tier_move, issue_name_change, reuse_candidate (another name after a gap, no word "
        "in common), or two_tiers (rows in two tiers of one week)",
        values=("tier_move", "issue_name_change", "reuse_candidate", "two_tiers"),
        key=True,
    ),
    day("previous_week", "Monday of the symbol's week before; two_tiers: the week itself"),
    text("previous_value", "Tier or issue name before; two_tiers: the tier with fewer shares"),
    text("value", "Tier or issue name since; two_tiers: the tier with more shares"),
    count("gap_weeks", "Loaded weeks between the two, without the symbol"),
    moment("known_from", "UTC time of the latest load of the symbol's rows"),
    *_declare_publication("the symbol's rows"),
)

finra_symbol_renames = table(
    "finra_symbol_renames",
    "One row per symbol that ended and symbol that began soon after it: they may be one security.",
    text("symbol", "Symbol that ended", key=True),
    text("new_symbol", "Symbol that began", key=True),
    day("last_week", "Monday of the last week of symbol"),
    day("first_week", "Monday of the first week of new_symbol"),
    count("gap_weeks", "Loaded weeks between the two, with neither"),
    text("tier", "Tier of symbol in its last week"),
    text("new_tier", "Tier of new_symbol in its first week"),
    text("issue_name", "Last name of symbol", optional=True),
    text("new_issue_name", "First name of new_symbol", optional=True),
    flag("has_same_issue_name", "Evidence: both names are equal in letters and digits"),
    flag("has_similar_trading", "Evidence: consecutive weeks, same largest venue, similar shares"),
    ratio(
        "share_ratio",
        "Shares of new_symbol's first week / of symbol's last; NULL: symbol had none",
        optional=True,
    ),
    moment("known_from", "UTC time of the latest load of the rows of either"),
    *_declare_publication("the rows of either"),
)
