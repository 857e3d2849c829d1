"""Rules of prices and of the tables that are derived of them, for evidence."""

from collections.abc import Mapping

from orchestration_project.domains.prices.contract import FROM_A_FLOAT
from orchestration_project.domains.prices.days import VALUES
from orchestration_project.domains.prices.gold import ROWS_BEFORE
from orchestration_project.domains.prices.tables import (
    PRICES,
    prices_corporate_actions,
    prices_daily,
    prices_returns,
)
from orchestration_project.domains.prices.tabular import ALSO_CALLED
from orchestration_project.engine.contracts.capture_forms import Form
from orchestration_project.engine.contracts.field_formulas import Reject, choose_known, is_empty
from orchestration_project.engine.contracts.formulas import Formula, LineRules, TableRules

NUMBER = "[-+.0-9eE]+"


def _list(name: str, group: str) -> str:
    """Return the pattern of a list of a chart."""
    return rf'"{name}":\s*\[(?P<{group}>[^]{{]*)\]'


def _match_members(*names: str, separator: str = r",\s*") -> str:
    """Return the pattern of members of an object, in their order, whose numbers are groups."""
    named = (name.split("=") for name in names)
    return separator.join(rf'"{name}":\s*"?(?P<{group}>{NUMBER})"?' for name, group in named)


_LISTS = {"timestamp": "time", **{name: name for name in (*PRICES, "volume")}}
CHART = "|".join(_list(*names) for names in [*_LISTS.items(), ("adjclose", "adjusted_close")])
DIVIDEND = _match_members("amount=amount", "date=time")
SPLIT = _match_members("date=time", "numerator=numerator", "denominator=denominator")
_DAY = r'"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2})":\s*\{'
_FIRST = ("1. open=open", "2. high=high", "3. low=low", "4. close=close")
ADJUSTED = _DAY + _match_members(
    *_FIRST,
    "5. adjusted close=adjusted_close",
    "6. volume=volume",
    "7. dividend amount=amount",
    "8. split coefficient=numerator",
)
_FIELDS = {
    "trade_date": "time",
    "dividend": "amount",
    "split_ratio": "numerator",
    "stock_splits": "stock_splits",
}
_COLUMNS = {**{name: name for name in (*VALUES, "stock_splits")}, **ALSO_CALLED}
_COLUMNS["stock_splits"] = "stock_splits"  # 0 is none
_RENAMED = sorted(
    (spelled, _FIELDS.get(column, column))
    for name, column in _COLUMNS.items()
    for spelled in {name, name.replace("_", " ")}
)
TRADED_VALUES = (*PRICES, "volume")
"""Values of a day with trade: a dividend or split of another day counts on the next such day."""

NO_FORM = Form("", [("none", ["CSV, a chart or a series", "another file"])])
FORMS = [
    Form("^PAR1", [("none", ["CSV or JSON", "Parquet, which no standard library reads"])]),
    Form(
        '"chart"',
        [("matches", [CHART]), ("matches", [DIVIDEND]), ("matches", [SPLIT])],
        moved_to=TRADED_VALUES,
    ),
    Form('"8. split coefficient"', [("matches", [ADJUSTED])]),
    Form('"5. volume"', [("matches", [_DAY + _match_members(*_FIRST, "5. volume=volume")])]),
    Form(r"(?i)^[^{\n]*close", [("lines", [",", [], _RENAMED])]),
    NO_FORM,
]
"""Yahoo's chart, whose lists end with the adjusted closes, Alpha Vantage's series, and CSV."""

IS_FILE: Formula = ["equal", ["given", "source"], ["text", "files"]]
IS_SERIES: Formula = ["matches", "time", "-"]
DAY: Formula = [
    "if",
    IS_SERIES,
    ["day", "time"],
    ["days_after", ["text", "1970-01-01"], ["ratio", ["scaled", "time", 0], 24 * 60 * 60]],
]


def _read_exact(name: str) -> Formula:
    """Return the formula of `exact`."""
    return ["if", ["matches", name, FROM_A_FLOAT], ["single", name], ["scaled", name, 6]]


def _read_rounded(name: str) -> Formula:
    """Return the formula of `rounded`, half a part up."""
    entries = ["scaled", ["extract", name, r"^([0-9]+\.[0-9]{6})[0-9]+$"], 6]
    is_up = ["matches", name, r"^[0-9]+\.[0-9]{6}[5-9]"]
    return choose_known(_read_exact(name), ["add", entries, ["if", is_up, 1, 0]])


def _group_by_day(formula: Formula) -> Formula:
    """Return a formula of the records of a day: a dividend and a split are records of their own."""
    return ["over", ["time"], formula]


def _skip_if_plain(name: Formula, formula: Formula) -> Formula:
    """Return null for a series or a file without dividends or splits."""
    return ["if", ["and", IS_SERIES, is_empty(name)], None, formula]


NO_SPLIT = r"^0+(\.0*)?$"
STOCK_SPLITS = ["if", ["matches", "stock_splits", NO_SPLIT], ["text", "1"], "stock_splits"]
NUMERATOR: Formula = ["if", is_empty("stock_splits"), "numerator", STOCK_SPLITS]
DENOMINATOR = choose_known(["scaled", "denominator", 6], 10**6)
RATIO: Formula = ["quotient", ["scaled", NUMERATOR, 6], DENOMINATOR]
IS_LATER_SPLIT: Formula = [
    "and",
    ["greater", "time", ["given", "time"]],
    ["not", ["equal", RATIO, ["text", "1"]]],
]


def _list_splits(condition: Formula) -> Formula:
    """Return the day and ratio of each split that meets a condition."""
    text = ["join", ["add", ["format", "{} ", DAY], RATIO]]
    return ["over", [], ["where", condition, text]]


CLOSE = ["scaled", "close", 6]
FALL = ["ratio", ["subtract", ["up_to", [], "time", 2, ["sum", CLOSE]], CLOSE], CLOSE]
FALLS = [["log", FALL], ["log", ["ratio", FALL, ["ratio", ["scaled", RATIO, 6], 10**6]]]]
IS_APPLIED = ["greater", *(["multiply", fall, fall] for fall in reversed(FALLS))]
SPLITS_OF_FILE: Formula = [
    "if",
    ["greater", ["over", [], ["where", is_empty(NUMERATOR), ["count", "time"]]], 0],
    None,
    _list_splits(["and", IS_LATER_SPLIT, IS_APPLIED]),
]
"""Later splits of a file after which its closes do not jump; null: a line has no ratio."""

PRICE_FORMULAS: Mapping[str, Formula] = {
    "symbol": ["given", "symbol"],
    "trade_date": DAY,
    **{name: _read_exact(name) for name in PRICES},
    "adjusted_close": _read_rounded("adjusted_close"),
    "volume": ["quantity", ["scaled", "volume", 6]],
    "dividend": _skip_if_plain("amount", _group_by_day(["sum", _read_exact("amount")])),
    "split_ratio": _skip_if_plain(
        NUMERATOR, choose_known(_group_by_day(["max", ["scaled", RATIO, 6]]), 10**6)
    ),
    "later_splits": [
        "if",
        IS_FILE,
        SPLITS_OF_FILE,
        ["if", IS_SERIES, ["text", "none"], _list_splits(IS_LATER_SPLIT)],
    ],
    "source": ["given", "source"],
    "capture_id": ["given", "capture_id"],
    "known_from": ["given", "loaded_at"],
}


def _list_rejects() -> list[Reject]:
    """Return the defects of a day's prices, as `RULES` of the contract."""
    read = PRICE_FORMULAS
    return [
        ("impossible_date", ["equal", DAY, None]),
        *(("not_a_decimal", ["equal", read[name], None]) for name in (*PRICES, "volume")),
        (
            "not_a_decimal",
            [
                "and",
                ["matches", "adjusted_close", "[0-9]"],
                ["equal", read["adjusted_close"], None],
            ],
        ),
        *(
            ("not_a_decimal", ["and", ["matches", name, "."], ["equal", _read_exact(name), None]])
            for name in ("amount", "numerator")
        ),
        *(("not_positive", ["not", ["greater", read[name], 0]]) for name in PRICES),
        ("not_positive", ["equal", read["adjusted_close"], 0]),
        *(("high_is_not_highest", ["greater", read[name], read["high"]]) for name in PRICES),
        *(("low_is_not_lowest", ["greater", read["low"], read[name]]) for name in PRICES),
    ]


PRICE_RULES = LineRules(_list_rejects(), {"events": is_empty("open")}, FORMS)
SYMBOL = ("symbol",)
IS_OWN_DAY = ["equal", "trade_date", ["given", "trade_date"]]


def _select_kind(column: str, kind: str) -> Formula:
    return ["if", ["equal", ["given", "kind"], ["text", kind]], column]


ACTION_FORMULAS: Mapping[str, Formula] = {
    "symbol": "symbol",
    "trade_date": "trade_date",
    "kind": ["given", "kind"],
    "dividend": _select_kind("dividend", "dividend"),
    "split_ratio": _select_kind("split_ratio", "split"),
    "source": "source",
    "known_from": "known_from",
}


def _take_latest(count: int, formula: Formula) -> Formula:
    """Return a formula of the latest rows of a symbol up to a day."""
    return ["up_to", SYMBOL, "trade_date", count, formula]


def _take_previous(column: str) -> Formula:
    """Return a column of the row before."""
    return _take_latest(2, ["where", ["not", IS_OWN_DAY], column])


BOTH_ADJUSTED = ["add", "adjusted_close", _take_previous("adjusted_close")]
IS_ADJUSTED = ["not", ["equal", BOTH_ADJUSTED, None]]
GROWTH = [
    "if",
    IS_ADJUSTED,
    ["ratio", "adjusted_close", _take_previous("adjusted_close")],
    ["ratio", "close", _take_previous("close")],
]
RETURN_FORMULAS: Mapping[str, Formula] = {
    "symbol": "symbol",
    "trade_date": "trade_date",
    "previous_date": _take_previous("trade_date"),
    "is_adjusted": IS_ADJUSTED,
    "simple_return": ["subtract", GROWTH, 1],
    "log_return": ["log", GROWTH],
    "known_from": _take_latest(ROWS_BEFORE + 1, ["max", "known_from"]),
}

RULES: Mapping[str, TableRules] = {
    rules.table.name: rules
    for rules in (
        TableRules(prices_daily, None, SYMBOL, PRICE_FORMULAS, PRICE_RULES),
        TableRules(prices_corporate_actions, prices_daily.name, SYMBOL, ACTION_FORMULAS),
        TableRules(prices_returns, prices_daily.name, SYMBOL, RETURN_FORMULAS),
    )
}
"""By table; a table comes after the one whose rows it reads."""
