"""Settings of the euro reference rates: their source."""

from datetime import date

from orchestration_project.settings.sources import SourceTexts, source_settings

RATES = SourceTexts(
    domain="fx",
    title="FX",
    description="Euro reference rates of the ECB.",
    publisher="the ECB",
    subject="euro reference rates",
    documents="reference rate documents",
    records="rates",
)
URL, FIRST_DAY = "https://www.ecb.europa.eu/stats/eurofxref", date(1999, 1, 4)
FxSettings = source_settings(RATES, url=URL, first_day=FIRST_DAY)
