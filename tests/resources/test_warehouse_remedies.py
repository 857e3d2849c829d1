"""What to do about what a database refuses."""

import pytest

from orchestration_project.engine.warehouse.remedies import ANY, find_remedy


@pytest.mark.parametrize(
    ("code", "state", "expected"),
    [
        (5, None, "(`fuser FILE`), and end it; it was waited for as long as `timeout` in "),
        (5, None, " says, 30 seconds without that"),
        (10, None, "make space on its disk"),
        (13, None, "make space on its disk"),
        (None, "22P05", "ENCODING 'UTF8'"),
        (None, "25P03", "idle_in_transaction_session_timeout"),
        (None, "25P04", "transaction_timeout"),
        (None, "40001", "what else writes to our tables"),
        (None, "40P01", "what else writes to our tables"),
        (None, "42501", "grant the role its rights"),
        (None, "53100", "make space on its disk"),
        (None, "55P03", "end the session that holds the lock"),
        (None, "57014", "statement_timeout"),
    ],
)
def test_a_specific_code_is_reported_with_its_remedy(code, state, expected):
    assert expected in find_remedy(code, state, timeout_seconds=30)


@pytest.mark.parametrize(("code", "state"), [(14, None), (None, "57P01"), (None, None)])
def test_any_other_code_is_reported_with_the_first_step(code, state):
    assert find_remedy(code, state, timeout_seconds=30) == ANY


def test_an_option_that_a_pooler_refuses_names_where_to_set_it():
    said = "FATAL:  unsupported startup parameter: options"  # without a SQLSTATE
    assert "take that option out of DATABASE_URL" in find_remedy(
        None, None, found=said, timeout_seconds=30
    )
