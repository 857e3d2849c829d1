"""Alerts of documents: one message for a run, with the number of failed files by reason."""

import pytest

from orchestration_project.tables.operations_alerts import operations_alerts
from tests.document_loader import DAY, DocumentLoader
from tests.document_loader import document_loader as document_loader
from tests.document_loader import folder as folder
from tests.sensors.test_operations import Watch, sent_messages
from tests.sensors.test_operations import hook as hook


@pytest.fixture
def watch(document_loader: DocumentLoader, url: str, hook) -> Watch:
    return Watch(document_loader.instance, url)


@pytest.mark.slow
def test_failed_files_of_a_good_run_are_one_warning_and_a_retried_one_is_none(
    document_loader, watch, hook
):
    document_loader.write(**{f"good{number}_txt": f"text {number}" for number in range(30)})
    document_loader.write(a_json=b"{", b_json=b"[", c_bin=b"\x00\x01\x02" * 99)
    (document_loader.folder / "late.txt").symlink_to(document_loader.folder / "target")
    document_loader.load()
    assert sent_messages(watch, hook) == [(f"Items failed: {DAY}", "warning")]
    assert hook.received[0]["message"].startswith(
        "3 of 34 files failed and are not retried: 2 truncated, 1 unsupported_type; what to do: "
    )
    document_loader.load()
    assert sent_messages(watch, hook) == []  # nothing failed since


@pytest.mark.slow
def test_a_bad_verdict_is_one_error_with_the_reasons_and_recovers(document_loader, watch, hook):
    document_loader.write(**{f"bad{number}_json": b"{" * (number + 1) for number in range(20)})
    document_loader.load()
    title = "Check failed: documents/capture has_good_verdict"
    assert sent_messages(watch, hook) == [(title, "failure")]
    message = hook.received[0]["message"]
    assert "20 of 20 files failed and are not retried: " in message
    assert document_loader.rows(operations_alerts.c.severity) == [("error",)]
    document_loader.write(**{f"good{number}_txt": f"text {number}" for number in range(3)})
    document_loader.load()
    assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]
