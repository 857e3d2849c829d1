"""Secrets do not reach what is written down."""

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.dagster_private.daemon_state import DaemonState
from orchestration_project.engine.http import RetryPolicy
from orchestration_project.errors import OrchestrationError, SourceError
from orchestration_project.redaction import Secrets, hide, keep_secrets_out_of_logs, redacted
from orchestration_project.resources.finra.connection import open_http
from orchestration_project.services.presets import resolve_config
from orchestration_project.services.probes import open_all_probes
from orchestration_project.settings import PROJECT_ROOT, load_settings, shown_values
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
    for spelling in (
        SECRET,
        "pl4nted%2Fsecret%2Bwith%22quotes",
        "pl4nted/secret+with%22quotes",  # as httpx has it in a query
        "pl4nted%252fsecret%252bwith%2522quotes",
        'pl4nted/secret+with\\"quotes',
        'pl4nted/secret+with\\\\\\"quotes',  # JSON within JSON
        "pl4nted/secret+with%5C%22quotes",
        "pl4nted/secret+with&quot;quotes",
    ):
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


class LoggedSecret(str):
    """A secret that logs a line when it is first compiled, as a finalizer may at any line."""

    __slots__ = ("logger",)

    def __iter__(self) -> Iterator[str]:
        logger, self.logger = self.logger, None
        if logger:
            logger.warning("a connection was left open, its key was %s", str(self))
        return super().__iter__()


def test_a_line_that_is_logged_while_secrets_are_compiled_is_written(log):
    logger, lines = log
    secret = LoggedSecret("an-api-key-of-a-finalizer")
    secret.logger = logger
    hide(secret)
    thread = Thread(target=logger.warning, args=("done",), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert "a connection was left open, its key was ***\n" in lines.getvalue()
    assert "done\n" in lines.getvalue()


def test_the_last_words_of_a_process_that_ends_by_an_error_are_masked():
    program = (
        "from orchestration_project.redaction import hide, keep_secrets_out_of_logs as keep\n"
        f"hide({SECRET!r}); keep()\n"
        f"raise ValueError('it said', {SECRET!r})"
    )
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith("ValueError: ('it said', '***')\n")
    assert "pl4nted" not in ended.stderr


def test_errors_of_ours_show_no_secret_whatever_they_quote():
    hide(SECRET)
    error = SourceError(SECRET, expected=SECRET, found=SECRET, remedy=SECRET, url=SECRET)
    error.within(place=SECRET)
    assert error.args == ("***",)
    assert str(error).count("***") == 6
    assert "pl4nted" not in str(error)


def test_of_an_address_just_the_password_is_masked_not_where_it_leads(monkeypatch):
    host = "a-database-with-a-long-name.example.org"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user:database-pw@{host}/db?sslkey=k3y-f1le")
    monkeypatch.setenv("FINRA_API_URL", "https://me:proxied-pw@finra.example.org/api")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-pw@proxy.example.org")
    load_settings()
    text = f"{host} database-pw k3y-f1le finra.example.org proxied-pw proxy.example.org proxy-pw"
    assert redacted(text) == f"{host} *** *** finra.example.org *** proxy.example.org ***"


def no_state() -> DaemonState:
    raise AssertionError("Dagster is not asked")


def test_the_query_of_a_source_s_address_is_shown_nowhere(monkeypatch, tmp_path):
    """By whatever name: it may be the key of a proxy in front of the source."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("FINRA_SOURCE", "api")
    monkeypatch.setenv("FINRA_API_URL", "http://127.0.0.1:9/api?code=pl4nted&x=s3cond%20one")
    settings = load_settings()
    shown = [
        shown_values(settings)["finra_api_url"],
        resolve_config(settings).entries["FINRA_API_URL"].value,
    ]
    assert shown == ["http://127.0.0.1:9/api?***"] * 2
    [tried] = [
        probe.tried()
        for probe in open_all_probes(REGISTRY, settings, no_state)
        if probe.dependency == "finra"
    ]
    assert "http://127.0.0.1:9/api?***" in tried
    with (
        open_http(settings, retries=RetryPolicy(max_attempts=1)) as http,
        pytest.raises(OrchestrationError, match=r"127\.0\.0\.1:9/api") as refused,
    ):
        http.request("GET", f"{FinraSettings.of(settings).finra_api_url}/metadata")
    texts = [
        str(refused.value),
        redacted("GET /api?code=pl4nted&x=s3cond%20one/metadata: s3cond one"),
    ]
    for text in texts:
        assert "pl4nted" not in text
        assert "s3cond" not in text


def test_of_a_password_with_a_bare_at_each_part_is_masked(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:first-part@second-part@host/db")
    load_settings()
    assert redacted("no host second-part@host, or first-part") == "no host ***@host, or ***"


def test_the_secrets_of_the_settings_are_known_once_they_are_read(monkeypatch):
    monkeypatch.setenv("FINRA_CLIENT_ID", "client")
    monkeypatch.setenv("FINRA_CLIENT_SECRET", "finra-client-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:data%40base-pw@host/db")
    monkeypatch.setenv("ALERT_URLS", "error=slack://T0KEN0A0OF0TWENTY0CHARS/general")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret-access-key")
    load_settings()
    text = "finra-client-secret data%40base-pw data@base-pw T0KEN0A0OF0TWENTY0CHARS general host"
    assert redacted(f"{text} aws-secret-access-key") == "*** *** *** *** general host ***"
