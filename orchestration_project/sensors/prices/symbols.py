"""When symbols are loaded that nobody asked for before."""

import hashlib

import dagster as dg

from orchestration_project.assets.prices import MONTHS
from orchestration_project.jobs import prices_daily
from orchestration_project.partitions import PARTITION_TAGS
from orchestration_project.resources.prices.states import months_of_symbols
from orchestration_project.resources.prices.universe import wanted_symbols
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.sensors.described import sensor
from orchestration_project.settings import Settings

SECONDS_BETWEEN_LOOKS = 3600
"""The symbols of most volume change once a week."""

_, FIRST, LAST = PARTITION_TAGS
SYMBOLS_NAMED = 10


@sensor(job=prices_daily, minimum_interval_seconds=SECONDS_BETWEEN_LOOKS)
def prices_on_new_symbol(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Load the months that others have, for symbols that are wanted and were never asked for."""
    wanted = wanted_symbols(settings, warehouse)
    known, oldest = months_of_symbols(warehouse)
    new = [symbol for symbol in wanted if symbol not in known]
    if oldest is None:
        return dg.SkipReason("Nothing to do: no price was ever asked for; launch prices_backfill.")
    if not new:
        return dg.SkipReason(f"Nothing to do: all {len(wanted)} wanted symbols were asked for.")
    keys = [key for key in MONTHS.get_partition_keys() if key >= oldest.isoformat()]
    named = ", ".join(new[:SYMBOLS_NAMED]) + " and more" * (len(new) > SYMBOLS_NAMED)
    context.log.info(f"Asked for {len(new)} new symbols: {named}.")
    digest = hashlib.sha256("\n".join(sorted(new)).encode()).hexdigest()[:16]
    return dg.RunRequest(
        run_key=f"prices_on_new_symbol {digest} {keys[-1]}", tags={FIRST: keys[0], LAST: keys[-1]}
    )
