"""All that the demo loads in each domain balances: `verify --balance` has no false imbalance."""

import json

import pytest

from orchestration_project.__main__ import main
from orchestration_project.cli.events_run import main as run_routing
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.settings import load_settings
from tests.commands import run_without_failure
from tests.oracle_state import DemoState, demo_state
from tests.webhook_runs import load_due

pytestmark = pytest.mark.slow

SETTINGS = {
    "DATA_PROFILE": "demo",
    "DEMO_ROWS_PER_WEEK": "300",
    "DEMO_SHOP_PRODUCTS": "20",
    "DEMO_MQTT_EVENTS": "100",
    "DEMO_SAAS_TASKS": "12",
    "FINRA_MAX_REJECT_RATIO": "0.05",
    "PRICES_UNIVERSE_SIZE": "4",
    "ROUTING_SECRET_PARTNER": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
JOBS = {
    "finra_otc_weekly": ("T1|2026-01-05", "T1|2026-01-12"),
    "finra_gold": ("T1|2026-01-05", "T1|2026-01-12"),
    "fx_rates_daily": ("2025-09-01", "2025-09-02"),
    "cboe_market_volume_daily": ("2026-01-05", "2026-01-09"),
    "finra_reg_sho_daily": ("2026-01-05", "2026-01-09"),
    "prices_daily": ("2026-01-01", "2026-01-01"),
}
TABLES = {
    "documents_pages",
    "events_webhooks",
    "finra_otc_weekly",
    "finra_reg_sho_daily",
    "finra_symbol_week",
    "fx_rates_daily",
    "inbox",
    "market_volume_daily",
    "mqtt_mirror",
    "outbox",
    "prices_daily",
    "web_crawls",
    "web_items",
}
"""Tables of which something balances: of each domain one at least."""


def deliver_webhooks() -> None:
    """Take a webhook that loads and one that is rejected."""
    settings, clock = load_settings(), Clock()
    with open_warehouse(settings) as warehouse:
        inbox = Inbox(warehouse, clock)
        inbox.take([NewDelivery("git", "1", "push", b"{}", {}, 3)])
        inbox.take([NewDelivery("git", "2", "push", b"no JSON", {}, 3)])
        load_due(warehouse, clock, FolderStore(settings.state_path / "artifacts"), "git")


def load_all_and_check(state: DemoState, folder: str) -> None:
    """Load two days of each domain; some loads fail, as the demo has faults."""
    for day in ("2026-03-02", "2026-03-11"):
        state.set_clock(f"{day}T15:00")
        for job, (first, last) in JOBS.items():
            state.run(job, first, last)
        assert state.run("prices_gold")
        state.run("web_shop", day)
        main(["load", "documents"])
    state.load("mqtt")
    run_without_failure("run-saas")
    deliver_webhooks()
    state.set("WEBHOOKS_FILE", f"{folder}/webhooks.yaml")
    assert run_routing() == 0


def test_no_domain_of_the_demo_has_a_false_imbalance(tmp_path, prepared, capsys):
    with demo_state(tmp_path, SETTINGS, prepared) as state:
        load_all_and_check(state, str(tmp_path))
        capsys.readouterr()
        assert main(["verify", "--balance", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["imbalances"] == []
    assert {row["table"] for row in verdict["equations"] if row["balanced"]} >= TABLES
