"""Specs of asset checks: the claim, its severity, the settings, and what to do when it fails."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dagster as dg

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


class CheckHelp(NamedTuple):
    """What a person does about a check that fails, and the settings that it depends on."""

    remedy: str
    settings: tuple[str, ...] = ()


_COMPARE = CheckHelp("compare the row with the source's page and report it")
_RERUN = CheckHelp("run the partition again later; report it to the source if it stays so")

HELP: Mapping[str, CheckHelp] = {
    "has_all_rows_of_record_total": CheckHelp("run the partition again; files are not checked"),
    "holds_only_its_week_and_tier": CheckHelp("check the file's name; report it to FINRA"),
    "holds_only_its_partition": CheckHelp("check the file's name; report it to the source"),
    "holds_only_its_symbol": CheckHelp("report it to the vendor"),
    "has_unique_keys": CheckHelp("load the partition again; report it to the source"),
    "has_unique_days": CheckHelp("report it to the vendor"),
    "reconciles_with_symbol_totals": CheckHelp(
        "run the week again once FINRA has corrected it; files have no totals"
    ),
    "has_few_rejects": CheckHelp("read the table rejects; report it, or raise the limit"),
    "has_firm_rows": _RERUN,
    "has_rows": _RERUN,
    "has_positive_rates": _COMPARE,
    "is_not_a_copy": CheckHelp(
        "find which of the two names is right; `force: true` in the run's config loads it"
    ),
    "is_of_usual_size": CheckHelp(
        "compare with the source; if it is short there, report it and load it again later"
    ),
    "has_all_large_venues": CheckHelp(
        "check whether the venue closed or changed its MPID; otherwise report it to FINRA",
        ("FINRA_LARGE_VENUE_SHARE", "FINRA_LARGE_VENUE_WEEKS"),
    ),
    "has_shares_where_it_has_trades": _COMPARE,
    "has_trades_where_it_has_shares": _COMPARE,
    "has_no_more_trades_than_shares": _COMPARE,
    "has_trading_in_every_row": _COMPARE,
    "has_no_implausible_share_quantity": CheckHelp(
        "compare with FINRA's page; raise the limit if the row is right",
        ("FINRA_MAX_ROW_SHARES",),
    ),
    "has_a_volume_in_every_row": _COMPARE,
    "has_no_more_moves_than_trades": _COMPARE,
    "has_trades_where_it_has_volume": _COMPARE,
    "has_changes_that_add_up": _COMPARE,
    "has_the_fields_that_we_know": CheckHelp(
        "missing or another type: change the declaration; new: decide whether to load it"
    ),
    "lists_only_known_tiers": CheckHelp("decide whether to load the tier"),
    "is_as_new_as_the_calendar": CheckHelp(
        "find why its runs failed, or whether the source publishes later than expected"
    ),
    "covers_enough_of_the_volume": CheckHelp(
        "load the missing prices",
        ("FINRA_VALUE_MIN_COVERAGE",),
    ),
    "has_sound_bars": CheckHelp("compare the day with another vendor; the row is rejected"),
    "follows_the_calendar": CheckHelp("load the month again; compare with another vendor"),
    "has_no_unexplained_jump": CheckHelp("compare with another vendor; look for a missing split"),
    "is_adjusted_as_its_actions_say": CheckHelp("load the months again with `full: true`"),
    "is_not_stale": CheckHelp(
        "load the present month; check whether the symbol was delisted",
        ("PRICES_STALE_SESSIONS",),
    ),
    "agrees_with_second_source": CheckHelp(
        "compare both; correct the symbol's override",
        ("PRICES_SECOND_SOURCE",),
    ),
    "settings_are_valid": CheckHelp("correct the settings that the check lists"),
    "has_not_drifted": CheckHelp("verify, if the change of configuration is meant"),
    "reach_their_channels": CheckHelp("check the channel's settings and service; `alerts test`"),
    "go_by_usable_rules": CheckHelp("correct the rules that the check lists"),
    "hold_what_was_captured": CheckHelp("restore the blobs from a backup of the store"),
    "are_matched_by_rules": CheckHelp("add a routing rule for the tasks that the check lists"),
    "have_known_assignees": CheckHelp("map or create the users that the check lists"),
    "is_mended": CheckHelp("read the dead letters; correct rules or permissions"),
    "goes_by_a_fresh_look": CheckHelp("check whether the sync is paused, or why its runs fail"),
    "is_done_in_time": CheckHelp("check whether the target answers"),
    "has_few_dead_letters": CheckHelp("correct the cause and run `saas_replay_dead_letters`"),
}
"""What to do, by the name of the check; `finds_…_ready` names it in its own result."""


def check_notes(
    name: str, severity: dg.AssetCheckSeverity = ERROR, settings: Sequence[str] = ()
) -> dict[str, str]:
    """Return the metadata of a check's spec: its severity, settings, and what to do."""
    help_ = HELP.get(name, CheckHelp(""))
    notes = {
        "severity": severity.value,
        "settings": " ".join([*settings, *help_.settings]),
        "remedy": help_.remedy,
    }
    return {label: note for label, note in notes.items() if note}


def check_spec(
    name: str,
    *,
    asset: dg.AssetKey,
    description: str,
    severity: dg.AssetCheckSeverity = ERROR,
    settings: Sequence[str] = (),
) -> dg.AssetCheckSpec:
    """Return the spec of a check that a step evaluates; ``description`` is its claim."""
    return dg.AssetCheckSpec(
        name,
        asset=asset,
        description=description,
        metadata=check_notes(name, severity, settings),
    )
