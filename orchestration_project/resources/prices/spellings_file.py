"""Reads the file of vendors' spellings of symbols."""

from collections.abc import Mapping

from orchestration_project.domains.prices.overrides import read_overrides
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.symbols import Overrides
from orchestration_project.settings import Settings
from orchestration_project.settings.loading import read_declared


def read_spellings(settings: Settings) -> Mapping[str, Overrides]:
    """Return how each vendor spells some symbols, as PRICES_SYMBOLS_FILE says.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    settings = PricesSettings.of(settings)
    path = settings.prices_symbols_path
    if path is None:
        return {}
    return read_declared(
        path, read_overrides, noun="symbol spellings", remedy="correct PRICES_SYMBOLS_FILE"
    )
