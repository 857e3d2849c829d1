"""Rules of tables that are derived of prices, for evidence."""

from collections.abc import Mapping

from orchestration_project.contracts.formulas import Formula, TableRules
from orchestration_project.domains.prices.gold import ROWS_BEFORE
from orchestration_project.tables.prices import (
    prices_corporate_actions,
    prices_daily,
    prices_returns,
)

SYMBOL = ("symbol",)
IS_OWN_DAY = ["equal", "trade_date", ["given", "trade_date"]]


def _of_kind(column: str, kind: str) -> Formula:
    return ["if", ["equal", ["given", "kind"], ["text", kind]], column]


ACTION_FORMULAS: Mapping[str, Formula] = {
    "symbol": "symbol",
    "trade_date": "trade_date",
    "kind": ["given", "kind"],
    "dividend": _of_kind("dividend", "dividend"),
    "split_ratio": _of_kind("split_ratio", "split"),
    "source": "source",
    "known_from": "known_from",
}


def _latest(count: int, formula: Formula) -> Formula:
    """Return a formula of the latest rows of a symbol up to a day."""
    return ["up_to", SYMBOL, "trade_date", count, formula]


def _previous(column: str) -> Formula:
    """Return a column of the row before."""
    return _latest(2, ["where", ["not", IS_OWN_DAY], column])


BOTH_ADJUSTED = ["add", "adjusted_close", _previous("adjusted_close")]
IS_ADJUSTED = ["not", ["equal", BOTH_ADJUSTED, None]]
GROWTH = [
    "if",
    IS_ADJUSTED,
    ["ratio", "adjusted_close", _previous("adjusted_close")],
    ["ratio", "close", _previous("close")],
]
RETURN_FORMULAS: Mapping[str, Formula] = {
    "symbol": "symbol",
    "trade_date": "trade_date",
    "previous_date": _previous("trade_date"),
    "is_adjusted": IS_ADJUSTED,
    "simple_return": ["subtract", GROWTH, 1],
    "log_return": ["log", GROWTH],
    "known_from": _latest(ROWS_BEFORE + 1, ["max", "known_from"]),
}

RULES: Mapping[str, TableRules] = {
    rules.table.name: rules
    for rules in (
        TableRules(prices_daily, None, SYMBOL, {}),
        TableRules(prices_corporate_actions, prices_daily.name, SYMBOL, ACTION_FORMULAS),
        TableRules(prices_returns, prices_daily.name, SYMBOL, RETURN_FORMULAS),
    )
}
"""By table; a table comes after the one whose rows it reads."""
