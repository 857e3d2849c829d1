"""Offenders and rejects of a delivery are shown if they can be read, and never fail a load."""

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.delivery_evidence import describe_rejects


def test_a_database_that_cannot_be_read_is_logged_and_adds_nothing(tmp_path, caplog):
    with Warehouse(f"sqlite:///{tmp_path}", clock=Clock()) as warehouse:
        assert describe_rejects(warehouse) == {}
        assert caplog.text == ""
        assert describe_rejects(warehouse, "finra_otc_weekly:T1|2026-02-02#1") == {}
    assert "Offenders and rejects cannot be shown: " in caplog.text
