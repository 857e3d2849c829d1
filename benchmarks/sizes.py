"""How much is measured: the sizes that are required, and tiny ones that show that it works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Rows of a partition, and numbers of partitions.

    Attributes:
        rows: Rows by symbol and firm in a partition, about.
        small: Partitions that are 100 k rows in all.
        middle: Partitions that are 1 M rows in all.
        large: Partitions that are 5 M rows in all.
        backfill_weeks: Weeks of a backfill over three tiers.
        single_runs: Partitions that are loaded in a run each, beside the backfill.
        large_partition_rows: Rows of the largest partition.
        ledger_rows: Runs and steps that the control tower looks at.
        old_runs: Runs whose logs are pruned.
        old_artifacts: Files that are cleaned up.
        small_captures: Captures of 20 KB that are stored in packs and one by one.
        work_items: Work items in the table of which pages are read.
        scraped_runs: Runs over which the metrics are told.
        delivering_seconds: For how long webhooks are delivered.
        webhook_runs: Deliveries whose runs are waited for.
        webhook_loads: Deliveries that arrive together, and are loaded by as few runs as it takes.
        ui_runs: Runs in the storage that the UI's requests read.
        ui_rounds: How often each of them is sent.
        soak_minutes: For how long the gateway is under load while its memory is watched.
        price_symbols: Symbols whose prices of 20 years are loaded.
        saas_tasks: Tasks that are looked at, with an issue of most of them.
    """

    rows: int
    small: int
    middle: int
    large: int
    backfill_weeks: int
    single_runs: int
    large_partition_rows: int
    ledger_rows: int
    old_runs: int
    old_artifacts: int
    small_captures: int
    work_items: int
    scraped_runs: int
    delivering_seconds: float
    webhook_runs: int
    webhook_loads: int
    ui_runs: int
    ui_rounds: int
    soak_minutes: float
    price_symbols: int
    saas_tasks: int


REQUIRED = Sizes(
    *(100_000, 1, 10, 50, 52, 12, 5_000_000),
    *(
        1_000_000,
        10_000,
        10_000,
        10_000,
        1_000_000,
        10_000,
        10,
        7,
        10_000,
        1000,
        50,
        60,
        500,
        100_000,
    ),
)
SMOKE = Sizes(600, 1, 2, 3, 7, 2, 3000, 2000, 20, 20, 40, 500, 100, 0.3, 1, 20, 20, 2, 0.1, 5, 200)
