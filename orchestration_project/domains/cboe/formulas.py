"""Rules of Cboe's tables whose numbers can be recomputed from captures, for evidence."""

from collections.abc import Mapping

from orchestration_project.contracts.formulas import Formula, TableRules
from orchestration_project.domains.cboe.volume import AMOUNTS
from orchestration_project.tables.cboe import (
    TAPES,
    market_volume_daily,
    off_exchange_share_daily,
)

IS_OFF = ["matches", "participant_code", "^D"]


def _by_tape(amount: str) -> Formula:
    """Return an amount of a row by the tape that is given."""
    formula: Formula = f"total_{amount}"
    for tape in reversed(TAPES):
        is_tape = ["equal", ["given", "tape"], ["text", tape.upper()]]
        formula = ["if", is_tape, f"tape_{tape}_{amount}", formula]
    return formula


def _amount_formulas(amount: str, name: str) -> dict[str, Formula]:
    """Return the formulas of an amount on and off exchange, and of its part off exchange."""
    total = ["sum", _by_tape(amount)]
    exchange, off_exchange = ["where", ["not", IS_OFF], total], ["where", IS_OFF, total]
    whole = ["add", ["ratio", exchange, 1], ["ratio", off_exchange, 1]]  # of doubles
    return {
        f"exchange_{amount}": exchange,
        f"off_exchange_{amount}": off_exchange,
        f"off_exchange_{name}_ratio": ["ratio", off_exchange, whole],
    }


OFF_EXCHANGE_FORMULAS: Mapping[str, Formula] = {
    "trade_date": "trade_date",
    "tape": ["given", "tape"],
    **{
        column: formula
        for amount, name in AMOUNTS.items()
        for column, formula in _amount_formulas(amount, name).items()
    },
    "known_from": ["given", "loaded_at"],
}

OFF_EXCHANGE_RULES: Mapping[str, TableRules] = {
    off_exchange_share_daily.name: TableRules(
        off_exchange_share_daily,
        market_volume_daily.name,
        ("trade_date",),
        OFF_EXCHANGE_FORMULAS,
    )
}
"""By table; its rows are made of those of the market volume."""
