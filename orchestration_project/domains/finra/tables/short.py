"""FINRA's short sales and short interest beside the shares traded off exchanges."""

from orchestration_project.domains.finra.tables.weekly import point_in_time
from orchestration_project.tables.key_groups import look_up_in_groups
from orchestration_project.tables.schema import count, day, quantity, ratio, table, text

finra_symbol_week_short = table(
    "finra_symbol_week_short",
    "One row per week and symbol that traded or was sold short off exchanges, in all tiers.",
    day("week_start", "Monday of the week", key=True),
    text("symbol", "FINRA's issue symbol; the SIP's where the week has no such symbol", key=True),
    quantity("otc_share_quantity", "Shares traded OTC, both markets; NULL: none", optional=True),
    quantity("ats_share_quantity", "Shares traded on ATSs; NULL: no OTC trading", optional=True),
    quantity("short_quantity", "Volume of short sales, shares; NULL: none", optional=True),
    quantity(
        "short_exempt_quantity",
        "Part of it that is exempt, shares; NULL: none",
        optional=True,
    ),
    quantity(
        "total_quantity",
        "Volume of all trades in the same data, shares; NULL: none",
        optional=True,
    ),
    count("short_day_count", "Days on which the symbol has volumes of short sales"),
    count("loaded_day_count", "Days of the week of which volumes of short sales are loaded"),
    day(
        "settlement_date",
        "Latest loaded settlement date by the week's Friday; NULL: no short interest",
        optional=True,
    ),
    quantity("short_interest_quantity", "Shares sold short on settlement_date", optional=True),
    ratio(
        "short_volume_ratio",
        "short_quantity / total_quantity, 0-1; NULL: no volume",
        optional=True,
    ),
    ratio(
        "short_interest_to_otc_ratio",
        "short_interest_quantity / otc_share_quantity; NULL: no OTC trading",
        optional=True,
    ),
    *point_in_time(may_be_stale=True),
)

look_up_in_groups(1, finra_symbol_week_short)
