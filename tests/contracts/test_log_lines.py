"""How a log line is written, read and selected."""

import json

import pytest

from orchestration_project.engine.contracts.log_lines import (
    MAX_LINE_BYTES,
    InvalidPositionError,
    LogFilter,
    decode_line,
    encode_line,
    read_positions,
    write_positions,
)
from orchestration_project.redaction import hide


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("one\ntwo\r\x00\x1b[31m", rb"one\ntwo\r\u0000\u001b[31m"),
        ("\x7f\x85\u2028\u202e", rb"\u007f\u0085\u2028\u202e"),
        ("Zürich", "Zürich".encode()),
        ("half \ud800 a pair", rb"half \ud800 a pair"),
    ],
)
def test_control_characters_are_escaped_and_read_back(text: str, written: bytes):
    line = encode_line({"message": text, "run_id": None})
    assert line == b'{"message": "' + written + b'"}\n'
    assert decode_line(line) == {"message": text}


def test_a_long_text_is_cut_and_a_line_has_a_limit():
    line = encode_line({"time": "t", "message": "x" * 2**20, "exception": "y" * 2**20})
    fields = json.loads(line)
    assert len(line) < MAX_LINE_BYTES
    assert fields["message"].endswith("x… (cut: 1032192 more characters)")
    line = encode_line({"time": "t", **{f"f{n}": "\x00" * 16_000 for n in range(9)}})
    assert len(line) < MAX_LINE_BYTES
    assert json.loads(line)["time"] == "t"


def test_secrets_are_masked_in_each_text_and_the_line_stays_json():
    hide("n-planted-7\\", "planted\nsecret")
    line = encode_line({"message": "\nn-planted-7\\", "path": "/planted\nsecret", "status": 3})
    assert json.loads(line) == {"message": "\n***", "path": "/***", "status": 3}


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"a": 1}{"b'])
def test_a_damaged_line_is_not_a_line(line: bytes):
    assert decode_line(line) is None


def test_lines_are_selected_by_service_level_run_trace_and_time():
    line = {
        "time": "2026-03-02T12:00:00.000000+00:00",
        "level": "WARNING",
        "service": "gateway",
        "run_id": "r1",
        "trace_id": "t1",
    }
    wanted = [
        LogFilter(),
        LogFilter("gateway", "INFO", "r1", "t1", "2026-03-02T12:00:00"),
        LogFilter(level="WARNING"),
    ]
    unwanted = [
        LogFilter("daemon"),
        LogFilter(level="ERROR"),
        LogFilter(run_id="r2"),
        LogFilter(trace_id="t2"),
        LogFilter(since="2026-03-02T12:00:01"),
    ]
    assert all(condition.matches(line) for condition in wanted)
    assert not any(condition.matches(line) for condition in unwanted)
    assert LogFilter(run_id="r1").may_match(encode_line(line))
    assert not LogFilter(run_id="r2").may_match(encode_line(line))


def test_positions_are_read_as_they_were_written():
    positions = {"gateway": 4711, "code_server": 0}
    assert write_positions(positions) == "code_server:0,gateway:4711"
    assert read_positions(write_positions(positions)) == positions
    assert read_positions("") == {}


@pytest.mark.parametrize("text", ["gateway", "../x:1", "a:-1", "a:1,a:2", "a:" + "9" * 19, "A:1"])
def test_other_positions_are_refused(text: str):
    with pytest.raises(InvalidPositionError, match="invalid position"):
        read_positions(text)
