"""Sources of FINRA's weekly data: its Query API (or the demo of it), or downloaded files."""

from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.resources.finra.source import (
    FinraSource,
    outdated_weeks,
    published_lately,
    versions_of,
)

__all__ = [
    "FinraApi",
    "FinraFiles",
    "FinraSource",
    "outdated_weeks",
    "published_lately",
    "versions_of",
]
