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
        document_files: Unchanged files of a folder that is polled.
        scraped_runs: Runs over which the metrics are told.
        delivering_seconds: For how long webhooks are delivered.
        webhook_runs: Deliveries whose runs are waited for.
        webhook_loads: Deliveries that arrive together, and are loaded by as few runs as it takes.
        ui_runs: Runs in the storage that the UI's requests read.
        ui_rounds: How often each of them is sent.
        gateway_memory_minutes: For how long the gateway is under load while its memory is watched.
        price_symbols: Symbols whose prices of 20 years are loaded.
        saas_tasks: Tasks that are looked at, with an issue of most of them.
        export_rows: Rows that are exported to Parquet.
        sqlite_export_rows: Rows that are exported to Parquet from SQLite.
        frame_rows: Rows of a tier-week that the client returns as a frame.
        year_rows: Rows of a year and three tiers that are queried.
        mqtt_messages: Messages that wait in a session of a broker.
        documents: Files that are loaded, and ten times those of a format.
        document_formats: Formats of which files are converted by others too.
        web_pages: Pages of the site that is crawled.
        web_frontier: URLs of the simulated frontier.
        schedules: Schedules that are data, all of which are due.
        mqtt_waiting: Messages that wait for the MQTT mirror.
        mqtt_events: Events of a long history of the mirror; a short one has a hundredth.
        worker_runs: Runs that workers of Celery execute.
        plugin_rows: Rows that a plugin emits.
        plugin_starts: Processes of plugins that are started.
        idle_seconds: For how long an idle `ui` is watched.
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
    document_files: int
    scraped_runs: int
    delivering_seconds: float
    webhook_runs: int
    webhook_loads: int
    ui_runs: int
    ui_rounds: int
    gateway_memory_minutes: float
    price_symbols: int
    saas_tasks: int
    export_rows: int
    sqlite_export_rows: int
    frame_rows: int
    year_rows: int
    mqtt_messages: int
    documents: int
    document_formats: int
    web_pages: int
    web_frontier: int
    schedules: int
    mqtt_waiting: int
    mqtt_events: int
    worker_runs: int
    plugin_rows: int
    plugin_starts: int
    idle_seconds: float


REQUIRED = Sizes(
    rows=100_000,
    small=1,
    middle=10,
    large=50,
    backfill_weeks=52,
    single_runs=12,
    large_partition_rows=5_000_000,
    ledger_rows=1_000_000,
    old_runs=10_000,
    old_artifacts=10_000,
    small_captures=10_000,
    work_items=1_000_000,
    document_files=100_000,
    scraped_runs=10_000,
    delivering_seconds=10,
    webhook_runs=7,
    webhook_loads=10_000,
    ui_runs=1000,
    ui_rounds=50,
    gateway_memory_minutes=60,
    price_symbols=500,
    saas_tasks=100_000,
    export_rows=5_000_000,
    sqlite_export_rows=1_000_000,
    frame_rows=60_000,
    year_rows=8_300_000,
    mqtt_messages=20_000,
    documents=2000,
    document_formats=13,
    web_pages=10_000,
    web_frontier=1_000_000,
    schedules=1_000,
    mqtt_waiting=20_000,
    mqtt_events=1_000_000,
    worker_runs=16,
    plugin_rows=100_000,
    plugin_starts=20,
    idle_seconds=300,
)
SMOKE = Sizes(
    rows=600,
    small=1,
    middle=2,
    large=3,
    backfill_weeks=7,
    single_runs=2,
    large_partition_rows=3000,
    ledger_rows=2000,
    old_runs=20,
    old_artifacts=20,
    small_captures=40,
    work_items=500,
    document_files=50,
    scraped_runs=100,
    delivering_seconds=0.3,
    webhook_runs=1,
    webhook_loads=20,
    ui_runs=20,
    ui_rounds=2,
    gateway_memory_minutes=0.1,
    price_symbols=5,
    saas_tasks=200,
    export_rows=3000,
    sqlite_export_rows=6000,
    frame_rows=6000,
    year_rows=12_600,
    mqtt_messages=300,
    documents=20,
    document_formats=1,
    web_pages=60,
    web_frontier=500,
    schedules=100,
    mqtt_waiting=1_000,
    mqtt_events=20_000,
    worker_runs=4,
    plugin_rows=1_000,
    plugin_starts=3,
    idle_seconds=5,
)
