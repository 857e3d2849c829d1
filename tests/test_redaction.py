"""Secrets do not reach what is written down."""

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.redaction import Secrets, hide, keep_secrets_out_of_logs, redacted
from orchestration_project.settings import load_settings
from tests.properties import bounded

NO_MASK = st.characters(exclude_characters="*")
SECRET = 'pl4nted/secret+with"quotes'


@pytest.fixture
def log():
    """A logger of a library, and what it wrote."""
    keep_secrets_out_of_logs()
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    yield logger, lines
    logger.removeHandler(handler)


def test_a_secret_is_masked_in_every_spelling_in_which_it_travels():
    hide(SECRET)
    for spelling in (SECRET, "pl4nted%2Fsecret%2Bwith%22quotes", 'pl4nted/secret+with\\"quotes'):
        assert redacted(f"token={spelling}&x=1") == "token=***&x=1"


@bounded
@given(st.text(NO_MASK, min_size=6, max_size=20), *[st.text(NO_MASK, max_size=5)] * 2)
def test_whatever_the_secret_is_it_does_not_get_through(secret, before, after):
    secrets = Secrets()
    secrets.hide(secret)
    assert secret not in secrets.redacted(f"{before}{secret}{after}")


def test_a_short_word_is_no_secret_that_could_be_searched_for():
    hide("as", "")
    assert redacted("as it was") == "as it was"


def test_log_lines_and_their_tracebacks_are_masked_whoever_writes_them(log):
    logger, lines = log
    hide("an-api-key-of-mine")
    logger.warning("GET https://host/?key=%s failed", "an-api-key-of-mine")
    try:
        raise ValueError("header X-Key: an-api-key-of-mine")
    except ValueError:
        logger.exception("cannot ask")
    written = lines.getvalue()
    assert "an-api-key-of-mine" not in written
    assert "GET https://host/?key=*** failed" in written
    assert "ValueError: header X-Key: ***" in written


def test_the_secrets_of_the_settings_are_known_once_they_are_read(monkeypatch):
    monkeypatch.setenv("FINRA_CLIENT_ID", "client")
    monkeypatch.setenv("FINRA_CLIENT_SECRET", "finra-client-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:data%40base-pw@host/db")
    monkeypatch.setenv("ALERT_URLS", "error=slack://T0KEN0A0OF0TWENTY0CHARS/general")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret-access-key")
    load_settings()
    text = "finra-client-secret data%40base-pw data@base-pw T0KEN0A0OF0TWENTY0CHARS general host"
    assert redacted(f"{text} aws-secret-access-key") == "*** *** *** *** general host ***"
