"""When FINRA's weeks are loaded."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.partitions.utils import get_time_partitions_def  # noqa: F401
