"""Alerts of `deploy/prometheus/rules/programs.yml`, judged by Prometheus' own test of rules."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestration_project.settings import PROJECT_ROOT

RULES = PROJECT_ROOT / "deploy" / "prometheus" / "rules" / "programs.yml"
UP = 'up{job="orchestration",instance="gateway:3000"}'
HEARTBEAT = 'orchestration_daemon_heartbeat_age_seconds{daemon="SENSOR",instance="%s"}'

WRONG = {
    "GatewayAway": {UP: "1 0x40"},
    "GatewayNotScraped": {'up{job="another"}': "1x40"},
    "MetricsIncomplete": {'orchestration_scrape_ok{part="ledger"}': "1 0x40"},
    "DaemonSilent": {HEARTBEAT % "a": "10+60x40", HEARTBEAT % "b": "10+60x40"},
    "DaemonUnknown": {UP: "1x40"},
    "ProgramSilent": {
        'orchestration_program_silence_seconds{host="h",role="code-server"}': "30+60x40"
    },
    "BridgeDisconnected": {'orchestration_mqtt_bridge_connected{broker="b"}': "1 0x40"},
    "ServiceNotScraped": {'up{job="postgresql",instance="p:9187"}': "1 0x40"},
    "PostgresqlAway": {"pg_up": "1 0x40"},
    "BrokerAway": {"mqtt2prometheus_connected": "1 0x40"},
    "BrokerDropsMessages": {
        "mosquitto_dropped_messages_total": "_x30 5x10",
        "mqtt2prometheus_connected": "1x40",
    },
    "DeliveriesWait": {'orchestration_inbox_oldest_seconds{source="git"}': "0+60x40"},
    "DeliveriesDead": {
        'orchestration_inbox_deliveries{source="git",state="failed"}': "3x40",
        'orchestration_inbox_deliveries{source="git",state="dead"}': "0 2x40",
    },
    "TicksFail": {'orchestration_tick_failures{kind="sensor",name="s"}': "0 4x40"},
    "DataLate": {'orchestration_asset_late_seconds{asset="finra/otc_weekly"}': "0 60+60x40"},
    "RunsFailed": {'orchestration_runs{job="finra_daily",status="FAILURE"}': "1x5 2x40"},
}
"""Series, one value a minute, that each rule alerts on once within 40 minutes."""

HEALTHY = {
    UP: "1x40",
    HEARTBEAT % "a": "10 40 10 40 10x40",
    HEARTBEAT % "b": "20x40",
    'orchestration_scrape_ok{part="ledger"}': "1 0 1x40",
    'orchestration_program_silence_seconds{host="h",role="code-server"}': "10 30 10x40",
    'orchestration_mqtt_bridge_connected{broker="b"}': "0 0 1x40",
    'up{job="postgresql",instance="p:9187"}': "1 0 1x40",
    "pg_up": "1 0 1x40",
    "mqtt2prometheus_connected": "1 0 1x40",
    "mosquitto_dropped_messages_total": "7x40",
    'orchestration_inbox_oldest_seconds{source="git"}': "800x40",
    'orchestration_inbox_deliveries{source="git",state="failed"}': "5x40",
    'orchestration_inbox_deliveries{source="git",state="dead"}': "0x40",
    'orchestration_tick_failures{kind="sensor",name="s"}': "3x40",
    'orchestration_asset_late_seconds{asset="finra/otc_weekly"}': "60 60 0x40",
    'orchestration_runs{job="finra_daily",status="FAILURE"}': "7x40",
    'orchestration_runs{job="finra_daily",status="SUCCESS"}': "7+1x40",
}

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def problems(folder: Path, series: dict[str, str], firing: dict[str, int]) -> str:
    """Return where Prometheus finds another number of alerts that fire after 40 minutes."""
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": value} for name, value in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                "eval_time": "40m",
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
            for name, count in firing.items()
        ],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [case]}))
    command = ["promtool", "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout + done.stderr if done.returncode else ""


def names() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", WRONG)
def test_a_rule_alerts_once_on_what_is_wrong_whoever_reports_it(tmp_path, name):
    assert problems(tmp_path, WRONG[name], {name: 1}) == ""


def test_no_rule_alerts_on_healthy_programs_and_short_gaps(tmp_path):
    assert names() == WRONG.keys()
    assert problems(tmp_path, HEALTHY, dict.fromkeys(names(), 0)) == ""
