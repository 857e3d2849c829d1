"""Sources of daily prices: Alpha Vantage, Yahoo's chart (or their demo), or files."""

from orchestration_project.resources.prices.quota import Quota, QuotaEndedError
from orchestration_project.resources.prices.source import PriceRange, PriceSource

__all__ = ["PriceRange", "PriceSource", "Quota", "QuotaEndedError"]
