"""The header `traceparent`, by the examples and rules of W3C Trace Context."""

import re

import pytest

from orchestration_project.engine.tracing.traceparent import (
    TraceContext,
    begin_run_trace,
    begin_trace,
    continue_or_begin,
    find_current_trace,
    forget_run_trace,
    is_trace_id,
    read_traceparent,
    trace_tags,
    use_trace,
)
from orchestration_project.redaction import hide

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "is_sampled"),
    [
        (HEADER, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),  # flags of later versions
        (f" {HEADER}\t", True),
        (f"cc-{TRACE}-{SPAN}-01-what-will-follow", True),  # a later version
    ],
)
def test_a_valid_header_is_read(text, is_sampled):
    assert read_traceparent(text) == TraceContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",  # the version that is none
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"{HEADER}-more",
        f"00-{TRACE}-{SPAN}-1",
        f"{HEADER}\n",
        f"00-{TRACE}-{SPAN}-\u0660\u0661",  # digits, but not of ASCII
        f"cc-{TRACE}-{SPAN}-01-{'x' * 500}",
    ],
)
def test_a_malformed_header_is_none(text):
    assert read_traceparent(text) is None


def test_what_is_written_is_read_again():
    assert str(TraceContext(TRACE, SPAN)) == HEADER
    begun = begin_trace()
    assert read_traceparent(str(begun)) == begun
    child = begun.child()
    assert (child.trace_id == begun.trace_id, child.span_id == begun.span_id) == (True, False)
    assert is_trace_id(begun.trace_id)
    assert not any(map(is_trace_id, ["", "0" * 32, TRACE.upper(), f"{TRACE}\n"]))


def test_a_malformed_or_doubled_header_begins_a_trace_and_is_noted_bounded_and_redacted():
    hide("planted-secret")
    assert continue_or_begin([HEADER]) == (TraceContext(TRACE, SPAN), None)
    assert continue_or_begin([])[1] is None
    for texts, noted in (
        (["00-planted-secret-\x1b[31m\x00é"], "00-***-?[31m??"),
        ([HEADER, HEADER], f"{HEADER}, {HEADER}"[:80]),
        (["x" * 100_000], "x" * 80),
    ):
        begun, rejected = continue_or_begin(texts)
        assert rejected == noted
        assert begun.trace_id != TRACE


def test_a_run_is_of_its_own_trace_else_of_the_current_one_else_of_a_new_one():
    own = TraceContext(TRACE, SPAN)
    assert find_current_trace() is None
    with use_trace(begin_trace()):
        assert trace_tags(own.as_tags()) == {".dagster/traceparent": HEADER, "trace_id": TRACE}
        current = find_current_trace()
        assert current is not None
        assert trace_tags({}) == current.as_tags()
    earlier = {"traceparent": HEADER, "trace_id": TRACE}  # of a run before the tag was hidden
    assert trace_tags(earlier) == own.as_tags()
    begun = trace_tags({"traceparent": "broken", "trace_id": "a guess"})
    assert re.fullmatch("[0-9a-f]{32}", begun["trace_id"])
    assert begun["traceparent_rejected"] == "broken"


def test_the_trace_of_a_run_is_that_of_its_process_until_it_ends():
    run, request = begin_trace(), begin_trace()
    begin_run_trace("a run", run)
    assert find_current_trace() == run
    with use_trace(request):
        assert find_current_trace() == request
    forget_run_trace("another run")
    assert find_current_trace() == run
    forget_run_trace("a run")
    assert find_current_trace() is None
