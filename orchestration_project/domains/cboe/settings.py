"""Settings of Cboe's market volume: its source."""

from datetime import date

from orchestration_project.settings.sources import SourceTexts, source_settings

VOLUME = SourceTexts(
    domain="cboe",
    title="Cboe",
    description="Daily market volume of all US exchanges, by Cboe.",
    publisher="Cboe",
    subject="daily market volume",
    documents="yearly files of market volume",
    records="lines",
)
URL = "https://cdn.cboe.com/resources/us/equities/market-statistics/historical-market-volume"
FIRST_DAY = date(2007, 1, 1)
CboeSettings = source_settings(VOLUME, url=URL, first_day=FIRST_DAY)
