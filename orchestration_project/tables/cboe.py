"""Cboe's daily market volume: the fields of its files, and the table."""

from orchestration_project.tables.schema import (
    USD_SCALE,
    Field,
    count,
    dataset_table,
    day,
    scaled,
    text,
)

TAPES = ("a", "b", "c")
CODE_FIELD = "Market Participant code"
"""Not a field of the file: the letters in parentheses at the end of the participant's name."""


def _amounts() -> list[Field]:
    """Return the fields of shares, notional and trades: one for each tape, and the total."""
    scopes = [(f"Tape {each.upper()}", f"tape_{each}") for each in TAPES] + [("Total", "total")]
    shown = {"total": "of all tapes"} | {
        f"tape_{each}": f"of tape {each.upper()}" for each in TAPES
    }
    shares = [
        Field(f"{name} Shares", count(f"{column}_share_quantity", f"Shares {shown[column]}"))
        for name, column in scopes
    ]
    notional = [
        Field(
            f"{name} Notional",
            scaled(f"{column}_notional_usd", f"Traded value {shown[column]}, US dollars x 10^6"),
            scale=USD_SCALE,
        )
        for name, column in scopes
    ]
    trades = [
        Field(f"{name} Trade Count", count(f"{column}_trade_count", f"Trades {shown[column]}"))
        for name, column in scopes
    ]
    return [*shares, *notional, *trades]


MARKET_VOLUME_FIELDS = (
    Field("Day", day("trade_date", "Day of trading", key=True)),
    Field(
        CODE_FIELD,
        text(
            "participant_code",
            "Letters of the exchange, e.g. N; D, or D and a letter: off exchange",
            key=True,
        ),
        pattern=r"^[A-Z]{1,2}$",
    ),
    Field(
        "Market Participant",
        text("participant_name", "Name as Cboe writes it on that day, e.g. NYSE (N)"),
    ),
    *_amounts(),
)

market_volume_daily = dataset_table(
    "market_volume_daily",
    "One row per day and exchange or off-exchange facility: trading in US equities by tape.",
    *MARKET_VOLUME_FIELDS,
    asset="cboe/market_volume_daily",
)
