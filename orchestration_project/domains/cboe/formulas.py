"""Rules of Cboe's tables whose numbers can be recomputed from captures, for evidence."""

from collections.abc import Mapping

from orchestration_project.contracts.capture_forms import delimited
from orchestration_project.contracts.contract import line_rules, row_formulas
from orchestration_project.contracts.field_formulas import replace_field
from orchestration_project.contracts.formulas import Formula, LineRules, TableRules
from orchestration_project.domains.cboe.volume import AMOUNTS, CODE, CONTRACT
from orchestration_project.tables.cboe import (
    CODE_FIELD,
    TAPES,
    market_volume_daily,
    off_exchange_share_daily,
)

DAY = ("trade_date",)
READ_CODE = ["extract", "Market Participant", CODE.pattern]
IS_OFF = ["matches", "participant_code", "^D"]


def _read_code(formula: Formula) -> Formula:
    """Return a formula that reads a participant's code where it stands in the file."""
    return replace_field(formula, CODE_FIELD, READ_CODE)


def _line_rules() -> LineRules:
    rejects = [(code, _read_code(condition)) for code, condition in line_rules(CONTRACT).rejects]
    other_days = ["not", ["equal", "Day", ["given", "trade_date"]]]
    return LineRules(rejects, {"other_days": other_days}, [delimited(",")])


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

RULES: Mapping[str, TableRules] = {
    rules.table.name: rules
    for rules in (
        TableRules(
            market_volume_daily,
            None,
            DAY,
            {name: _read_code(formula) for name, formula in row_formulas(CONTRACT).items()},
            _line_rules(),
        ),
        TableRules(off_exchange_share_daily, market_volume_daily.name, DAY, OFF_EXCHANGE_FORMULAS),
    )
}
"""By table; a table comes after the one whose rows it reads."""
