"""Add symbol master."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0054"
down_revision = "0053"

# fmt: off
CHANGES = [
    CreateTable(Table("prices_symbol_spellings", "One row per vendor and symbol of finra_symbols: how the vendor spells it.", [
        Column("vendor", "text", "Vendor: alpha_vantage or yahoo", key=True),
        Column("symbol", "text", "Symbol in FINRA's spelling, exact to the byte", key=True),
        Column("vendor_symbol", "text", "Vendor's spelling; NULL: the vendor is not asked", optional=True),
        Column("is_override", "boolean", "Whether PRICES_SYMBOLS_FILE has the spelling, not a rule"),
        Column("reason", "text", "Reason why the vendor is not asked; NULL: it is", optional=True),
    ])),
    CreateTable(Table("finra_symbols", "One row per symbol: the weeks, tiers and issue names under which it traded.", [
        Column("symbol", "text", "FINRA's issue symbol, exact to the byte", key=True),
        Column("tier", "text", "Tier of the last week: T1, T2 or OTCE"),
        Column("issue_name", "text", "Latest name of the security", optional=True),
        Column("first_week", "date", "Monday of the first loaded week with trading"),
        Column("last_week", "date", "Monday of the last loaded week with trading"),
        Column("week_count", "bigint", "Weeks with trading"),
        Column("tier_move_count", "bigint", "Changes of tier from one week with trading to the next"),
        Column("issue_name_count", "bigint", "Issue names, which differ in letters or digits"),
        Column("is_reuse_candidate", "boolean", "Whether another company may use the symbol since: see finra_symbol_changes"),
        Column("known_from", "timestamp", "UTC time of the latest load of its rows"),
    ])),
    CreateTable(Table("finra_symbol_changes", "One row per symbol, week and kind of change since the symbol's week before.", [
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("week_start", "date", "Monday of the first week after the change", key=True),
        Column("kind", "text", "Kind: tier_move, issue_name_change, reuse_candidate (another name after a gap, no word in common), or two_tiers (rows in two tiers of one week)", key=True),
        Column("previous_week", "date", "Monday of the symbol's week before; two_tiers: the week itself"),
        Column("previous_value", "text", "Tier or issue name before; two_tiers: the tier with fewer shares"),
        Column("value", "text", "Tier or issue name since; two_tiers: the tier with more shares"),
        Column("gap_weeks", "bigint", "Loaded weeks between the two, without the symbol"),
        Column("known_from", "timestamp", "UTC time of the latest load of the symbol's rows"),
    ])),
    CreateTable(Table("finra_symbol_renames", "One row per symbol that ended and symbol that began soon after it: they may be one security.", [
        Column("symbol", "text", "Symbol that ended", key=True),
        Column("new_symbol", "text", "Symbol that began", key=True),
        Column("last_week", "date", "Monday of the last week of symbol"),
        Column("first_week", "date", "Monday of the first week of new_symbol"),
        Column("gap_weeks", "bigint", "Loaded weeks between the two, with neither"),
        Column("tier", "text", "Tier of symbol in its last week"),
        Column("new_tier", "text", "Tier of new_symbol in its first week"),
        Column("issue_name", "text", "Last name of symbol", optional=True),
        Column("new_issue_name", "text", "First name of new_symbol", optional=True),
        Column("has_same_issue_name", "boolean", "Evidence: both names are equal in letters and digits"),
        Column("has_similar_trading", "boolean", "Evidence: consecutive weeks, same largest venue, similar shares"),
        Column("share_ratio", "double", "Shares of new_symbol's first week / of symbol's last; NULL: symbol had none", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the rows of either"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
