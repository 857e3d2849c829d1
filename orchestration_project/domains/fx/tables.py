"""Euro reference rates of the ECB: the fields of its documents, and the table."""

from orchestration_project.tables.schema import USD_SCALE, Field, dataset_table, day, scaled, text

FX_FIELDS = (
    Field("date", day("rate_date", "TARGET working day of the rate", key=True)),
    Field(
        "currency",
        text("currency_code", "ISO 4217 code, such as USD", key=True),
        pattern=r"^[A-Z]{3}$",
    ),
    Field(
        "rate",
        scaled(
            "rate",
            "Units of the currency for 1 EUR, x 10^6; NULL: the ECB states N/A, not available",
            optional=True,
        ),
        scale=USD_SCALE,
    ),
)

fx_rates_daily = dataset_table(
    "fx_rates_daily",
    "One row per TARGET working day and currency: the ECB's euro reference rate.",
    *FX_FIELDS,
)
