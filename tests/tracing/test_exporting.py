"""Spans go to a collector by OTLP; whatever it does, nothing waits for it beyond a bound."""

import logging
import subprocess
import sys
import time

import pytest

from orchestration_project.engine.tracing import exporting, spans
from orchestration_project.engine.tracing.exporting import SpanExport
from orchestration_project.engine.tracing.span import Span
from orchestration_project.engine.tracing.traceparent import (
    TraceContext,
    begin_trace,
    find_current_trace,
    use_trace,
)
from orchestration_project.redaction import hide
from tests.collector import Fault, collecting
from tests.programs import free_port, wait_for

BOUND = 2.5
"""Seconds that a flush takes at most, and some for a busy machine."""


@pytest.fixture
def collector():
    with collecting() as found:
        yield found


@pytest.fixture
def export(collector):
    opened = SpanExport(
        collector.url,
        {"x-api-key": "key-of-the-collector"},
        service="test",
        linger_seconds=0.01,
        first_pause_seconds=0.01,
    )
    yield opened
    opened.stop()


@pytest.fixture
def recording(collector, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    spans.forget_settings()
    yield collector
    spans.forget_settings()


def ended(name: str = "load", error: str | None = None, context: TraceContext | None = None):
    span = Span(name, context or begin_trace(), None, error=error)
    span.end()
    return span


def add(export: SpanExport, count: int) -> None:
    for _ in range(count):
        export.add(ended())


def test_spans_have_their_trace_parents_attributes_and_errors(recording):
    request = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")

    def load() -> None:
        with spans.open_span(
            "load", table="prices", row_count=3, share=0.5, is_new=True, none=None
        ):
            raise ValueError("no\x1b disk")

    with use_trace(request), spans.open_span("run"), pytest.raises(ValueError, match="no"):
        load()
    assert find_current_trace() is None
    spans.flush()
    [load_span, run] = recording.spans
    assert (run.name, run.parent, run.error) == ("run", request.span_id, "")
    assert (load_span.parent, load_span.error) == (run.span_id, "ValueError: no  disk")
    assert {load_span.trace_id, run.trace_id} == {request.trace_id}
    assert load_span.attributes == {
        "table": "prices",
        "row_count": 3,
        "share": 0.5,
        "is_new": True,
    }
    assert run.resource["service.name"].startswith("orchestration_project.")


def test_attributes_are_bounded_and_redacted(recording):
    hide("planted-secret")
    with spans.open_span("http", url="https://x/?key=planted-secret&" + "y" * 10_000) as span:
        assert span is not None
        span.set(**{f"name{number}": number for number in range(100)})
        span.fail("planted-secret " * 100)
    spans.flush()
    [found] = recording.spans
    assert len(found.attributes) == 16
    assert len(found.attributes["url"]) == len(found.error) == 256
    assert b"planted-secret" not in b"".join(recording.raw)


def test_a_share_of_traces_is_sampled_by_their_id_and_errors_always(collector):
    export = SpanExport(collector.url, {}, share=0.25)
    low, high = (TraceContext("1" * 16 + digit * 16, "1" * 16) for digit in "3f")
    for context, error in ((low, None), (high, None), (high, "failed")):
        export.add(ended(error=error, context=context))
    export.flush(BOUND)
    assert [(span.trace_id, span.error) for span in collector.spans] == [
        (low.trace_id, ""),
        (high.trace_id, "failed"),
    ]
    export.stop()


def test_headers_are_sent_and_their_values_are_secrets(collector, export):
    export.add(ended("key-of-the-collector"))
    export.flush(BOUND)
    assert collector.headers[0]["x-api-key"] == "key-of-the-collector"
    span = Span("any", begin_trace(), None)
    span.set(said="key-of-the-collector")
    assert span.attributes == {"said": "***"}


def test_spans_are_sent_without_a_flush_also_after_a_pause(collector, export):
    for count in (1, 2, 3):  # the thread of the export waits between them
        add(export, 1)
        wait_for(lambda count=count: len(collector.spans) == count)


@pytest.mark.parametrize("status", [429, 503])
def test_a_batch_that_is_to_come_later_is_sent_again(collector, export, status):
    collector.faults = [Fault(status, headers={"retry-after": "0"}), Fault(status)]
    add(export, 3)
    for _ in range(3):
        export.flush(BOUND)
    assert (len(collector.spans), export.lost_count) == (3, 0)


def test_a_batch_that_is_too_large_is_sent_in_halves_and_a_single_span_is_lost(collector, export):
    collector.always = Fault(413, most_spans=2)
    add(export, 7)
    export.flush(BOUND)
    assert (len(collector.spans), export.lost_count) == (7, 0)
    collector.always = Fault(413, most_spans=-1)
    add(export, 1)
    export.flush(BOUND)
    assert export.lost_count == 1


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        (Fault(400), 3),
        (Fault(302, headers={"location": "http://127.0.0.1:1/"}), 3),
        (Fault(body=b"\xff\xfe garbage"), 0),
        (Fault(body=b"<html>" * 100_000), 0),
    ],
)
def test_a_refusal_is_counted_and_garbage_harms_nothing(collector, export, fault, lost, caplog):
    collector.faults = [Fault(**{**vars(fault), "most_spans": -1})]
    add(export, 3)
    with caplog.at_level(logging.WARNING):
        export.flush(BOUND)
    assert export.lost_count == lost
    assert [message for message in caplog.messages if "3 spans were not exported" in message] == (
        caplog.messages if lost else []
    )
    add(export, 1)
    export.flush(BOUND)
    assert len(collector.spans) >= 1


def test_without_a_collector_the_queue_is_bounded_and_the_loss_counted():
    export = SpanExport(f"http://127.0.0.1:{free_port()}", {}, max_queued=50)
    add(export, 80)
    export.flush(BOUND)  # ends with the attempt that failed
    assert export.lost_count >= 30 - exporting.MAX_BATCH
    add(export, 200)
    assert export.lost_count >= 100
    export.stop()


@pytest.mark.slow
def test_a_collector_that_never_answers_holds_up_nothing_beyond_the_bound(collector, export):
    collector.always = Fault(seconds=30, most_spans=-1)
    started = time.process_time(), time.monotonic()
    add(export, 300)
    export.flush(0.2)
    assert time.process_time() - started[0] < BOUND
    assert time.monotonic() - started[1] < 20


FORK = """
import os
import sys
from orchestration_project.engine.tracing import spans
with spans.open_span("parent"):
    pass
loaded = set(sys.modules)
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    with spans.open_span("child"):
        pass
spans.flush(20)
assert set(sys.modules) == loaded, set(sys.modules) - loaded
"""


@pytest.mark.slow
def test_a_fork_just_after_a_span_sends_its_own_spans_and_loses_none(collector, tmp_path):
    url = collector.url.replace("127.0.0.1", "localhost")
    done = subprocess.run(  # noqa: S603 - a program of our own environment
        [sys.executable, "-c", FORK],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "STATE_DIR": str(tmp_path),
            "HOME": str(tmp_path),
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(span.name for span in collector.spans) == ["child", "parent"]


OFF = """
import sys
from orchestration_project.engine.tracing import spans
made = [spans.open_span("run", table="x"), spans.open_span("load")]
assert made[0] is made[1], "a span object was made"
with made[0] as given:
    assert given is None
assert spans.begin_span("step", None) is None
spans.finish_span(None); spans.flush()
import dagster as dg
from orchestration_project.instance.storage import open_instance
@dg.op
def work():
    pass
@dg.job
def demo():
    work()
with open_instance() as instance:
    assert demo.execute_in_process(instance=instance).success
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
assert "orchestration_project.engine.tracing.exporting" not in sys.modules
"""


@pytest.mark.slow
def test_without_an_endpoint_nothing_is_made_or_imported_by_a_run(tmp_path):
    done = subprocess.run(  # noqa: S603 - a program of our own environment
        [sys.executable, "-c", OFF],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "STATE_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
