import gzip
import logging
import multiprocessing
import re
import signal
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import chain
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.http.shared_state import read_systems
from orchestration_project.errors import ConfigurationError, SourceError, TransientError
from orchestration_project.settings import child_environment
from tests.faulty_server import FaultyServer, Reply, dripping, dropped, endless, one_after_another
from tests.http_clients import make_client

OK = Reply(body=b"whole")
HTML_504 = Reply(504, {"Content-Type": "text/html"}, b"<html>Gateway\x00 timeout " + b"x" * 300)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


class Wall:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.time = NEW_YEAR

    def __call__(self) -> datetime:
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in child_environment():
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def serve():
    servers = []

    def start(*replies, tls=None):
        server = FaultyServer(one_after_another(*replies), tls).__enter__()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def client_of(tmp_path, wall):
    clients = []

    def make(**changes):
        folder = changes.pop("state_dir", tmp_path)
        usual = {"system": "test_api", "now": wall, "max_attempts": 3}
        client = make_client(folder, **usual | changes)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of):
    return client_of()


def free_url() -> str:
    """Return an address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def texts_of_error_and_logs(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    return "".join(traceback.format_exception(error)) + caplog.text


def test_an_answer_comes_with_the_bytes_of_the_source(serve, client):
    server = serve(Reply(200, {"Record-Total": "2"}, b'[{"x": 1}]\n'))
    answer = client.request(
        "POST", f"{server.url}/data?a=b", json={"limit": 5}, headers={"Accept": "text/plain"}
    )
    assert (answer.url, answer.status, answer.body) == (
        f"{server.url}/data?a=b",
        200,
        b'[{"x": 1}]\n',
    )
    assert answer.headers == {"content-length": "11", "record-total": "2"}
    [requested] = server.requests
    assert (requested.method, requested.target, requested.body) == (
        "POST",
        "/data?a=b",
        b'{"limit":5}',
    )
    assert requested.headers["accept-encoding"] == "identity"
    assert requested.headers["user-agent"] == "tests"
    assert requested.headers["accept"] == "text/plain"


def test_a_cookie_is_not_sent_back(serve, client):
    server = serve(Reply(200, {"Set-Cookie": "visitor=7; Path=/"}, b""), OK)
    for _ in range(2):
        client.request("GET", server.url)
    assert ["cookie" in requested.headers for requested in server.requests] == [False, False]


def test_basic_credentials_are_sent(serve, client):
    server = serve(OK)
    client.request("POST", server.url, basic_auth=("me", "pass"))
    [requested] = server.requests
    assert requested.body == b""
    assert requested.headers["authorization"] == "Basic bWU6cGFzcw=="


def test_credentials_in_the_url_are_sent_apart_from_it(serve, client):
    server = serve(OK)
    client.request("GET", server.url.replace("://", "://me%40here:pass@") + "/x y?a=1#part")
    [requested] = server.requests
    assert requested.headers["authorization"] == "Basic bWVAaGVyZTpwYXNz"
    assert requested.target == "/x%20y?a=1"


def test_chunks_and_repeated_headers_come_together(serve, client):
    head = b"HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\nx: 2\r\n\r\n"
    server = serve([head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"], OK)
    answer = client.request("GET", server.url)
    assert (answer.body, answer.headers["x"]) == (b"abc", "1, 2")
    assert client.request("GET", server.url).body == b"whole"


def test_an_answer_of_several_parts_is_bytes_as_any_other(serve, client):
    kind = {"Content-Type": "multipart/mixed; boundary=x"}
    server = serve(Reply(headers=kind, body=b"--x\r\n\r\none\r\n--x--\r\n"))
    answer = client.request("GET", server.url)
    assert (answer.headers["content-type"], answer.body[:5]) == (kind["Content-Type"], b"--x\r\n")


@pytest.mark.parametrize("status", [204, 301, 302, 400, 401, 403, 404, 410, 418, 501])
def test_a_status_that_is_the_callers_to_judge_is_returned_at_once(serve, client, status):
    server = serve(Reply(status, {"Location": "/elsewhere"}))
    assert client.request("GET", server.url).status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_status_of_overload_or_failure_is_tried_again(serve, client, status):
    server = serve(Reply(status, body=b"<html>"), OK)
    assert client.request("GET", server.url).body == b"whole"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(dropped, id="a dropped connection"),
        pytest.param(lambda: [Reply(headers={"Content-Length": "9"}, body=b"x").raw()], id="cut"),
        pytest.param(lambda: [b"HTTP/1.1 200 OK\r\nContent-Le"], id="cut within the headers"),
        pytest.param(lambda: [b"HTTP/1.1 200 OK\r\nX: 1\r\n"], id="cut between the headers"),
        pytest.param(lambda: [b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"], id="not a header"),
        pytest.param(lambda: [Reply(headers={"Content-Length": "two"}).raw()], id="no length"),
        pytest.param(lambda: [b"SSH-2.0-OpenSSH\r\n"], id="not HTTP"),
        pytest.param(
            lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"],
            id="cut after the last chunk",
        ),
        pytest.param(
            lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
            id="cut chunk",
        ),
        pytest.param(lambda: endless(503), id="an error without end"),
    ],
)
def test_a_broken_answer_is_tried_again(serve, client, fault):
    server = serve(fault(), OK)
    assert client.request("POST", server.url, json={"a": 1}).body == b"whole"
    assert [request.body for request in server.requests] == [b'{"a":1}'] * 2


def test_after_the_last_attempt_the_error_says_what_was_asked_and_what_came(serve, client):
    server = serve(HTML_504)
    with pytest.raises(TransientError) as caught:
        client.request("GET", f"{server.url}/data")
    error = caught.value
    assert error.what == f"test_api did not answer GET {server.url}/data"
    assert error.found == f"status 504 with '<html>Gateway\\x00 timeout {'x' * 177}'"
    assert (
        error.remedy == "see whether the source is up and can be reached from here; ask again later"
    )
    assert error.context == {"system": "test_api", "url": f"{server.url}/data", "attempts": "3"}
    assert str(error.__cause__) == error.found
    assert len(server.requests) == 3


def test_an_unreachable_source_is_a_transient_error_that_says_so(client):
    url = free_url()
    with pytest.raises(TransientError) as caught:
        client.request("GET", url)
    assert "Connection refused" in caught.value.found
    assert caught.value.context["attempts"] == "3"


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("headers", "least_seconds"),
    [
        pytest.param({"Retry-After": "1"}, 1, id="seconds"),
        pytest.param({"Retry-After": "Thu, 01 Jan 2026 00:00:01 GMT"}, 1, id="a date"),
        pytest.param(
            {
                "Retry-After": "Mon, 01 Jan 2018 00:00:01 GMT",
                "Date": "Mon, 01 Jan 2018 00:00:00 GMT",
            },
            1,
            id="a date by a clock that is not ours",
        ),
        pytest.param({"Retry-After": "0"}, 0, id="at once"),
        pytest.param({"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}, 0, id="a past date"),
        pytest.param({"Retry-After": "soon"}, 0, id="nonsense"),
        pytest.param({"Retry-After": "²"}, 0, id="no digit"),
        pytest.param({"Retry-After": f"Thu, 01 Jan {'9' * 30} 00:00:00 GMT"}, 0, id="no year"),
        pytest.param({"Retry-After": f"Thu, 01 Jan 2026 00:00:01 +{'9' * 30}"}, 0, id="no zone"),
    ],
)
def test_retry_after_is_obeyed(serve, client, headers, least_seconds):
    server = serve(Reply(429, headers), OK)
    assert client.request("GET", server.url).status == 200
    first, second = (request.arrived for request in server.requests)
    assert second - first >= least_seconds  # never too early, however slow this machine


@pytest.mark.parametrize(
    ("value", "when"),
    [
        ("7200", "after 2026-01-01 02:00:00 UTC"),
        ("Thu, 01 Jan 2026 02:00:00 GMT", "after 2026-01-01 02:00:00 UTC"),
        ("9" * 40, "after 2027-01-02 00:00:00 UTC"),
    ],
)
def test_a_long_retry_after_ends_the_request_and_is_reported(serve, client, value, when):
    server = serve(Reply(503, {"Retry-After": value}))
    with pytest.raises(TransientError) as caught:
        client.request("GET", server.url)
    assert caught.value.remedy.endswith(f"ask again {when}")
    assert len(server.requests) == 1


def test_silence_is_not_waited_for_for_ever(serve, client_of):
    silent = [b"HTTP/1.1 200 OK\r\n"]
    server = serve(dripping(silent[0], 30), OK)
    assert client_of(timeout_seconds=0.2).request("GET", server.url).body == b"whole"


@pytest.mark.slow_after_first
@pytest.mark.parametrize("fast_bytes", [0, 1000], ids=["the headers", "the body"])
def test_what_drips_is_not_waited_for_for_ever(serve, client_of, fast_bytes):
    raw = Reply(headers={"X-Long": "x" * 900}, body=b"x" * 1000).raw()
    server = serve(chain([raw[:fast_bytes]], dripping(raw[fast_bytes:], 0.05)), OK)
    answer = client_of(timeout_seconds=5, deadline_seconds=0.5).request("GET", server.url)
    assert answer.body == b"whole"


def test_a_body_without_end_is_refused_and_not_asked_for_again(serve, client_of):
    server = serve(endless())
    with pytest.raises(SourceError) as caught:
        client_of(max_body_bytes=100_000).request("GET", server.url)
    assert caught.value.expected == "a body of at most 100000 bytes"
    assert len(server.requests) == 1


def test_a_body_of_just_the_allowed_size_is_whole(serve, client_of):
    server = serve(Reply(body=b"x" * 100))
    assert client_of(max_body_bytes=100).request("GET", server.url).body == b"x" * 100


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/file",
        "host/path",
        "http://",
        "http://[::1",
        "file:///x",
        "http://host:65536/",
        "http://host:x/",
        "http://user@/",
        "http://two words/",
        "http://host\\.other/",
        " http://host/",
    ],
)
def test_what_is_no_http_url_is_refused(client, url):
    with pytest.raises(SourceError, match="cannot be asked over HTTP"):
        client.request("GET", url)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/EP$C|x^y[1]\\z", "/EP$C%7Cx%5Ey%5B1%5D%5Cz"),
        ("/é?q=\"é\n'", "/%C3%A9?q=%22%C3%A9%0A'"),
        ("/%7Eu;p=1?x=a+b%20c&y=?/:@!*()", "/%7Eu;p=1?x=a+b%20c&y=?/:@!*()"),
        ("//a/../b/./c", "//b/c"),
    ],
)
def test_a_path_and_a_query_are_sent_in_ascii_and_otherwise_as_they_are(
    serve, client, path, target
):
    server = serve(OK)
    client.request("GET", server.url + path)
    assert server.requests[0].target == target


def test_a_header_that_http_forbids_is_refused_unquoted(serve, client, caplog):
    server, token = serve(OK), "-".join(["s3cr3t", "t0k3n"])
    with pytest.raises(ConfigurationError, match="cannot be sent as HTTP") as caught:
        client.request("GET", server.url, headers={"X Token": token})
    assert token not in texts_of_error_and_logs(caught.value, caplog)
    assert server.requests == []


def test_spaces_around_a_header_are_not_sent(serve, client):
    server = serve(OK)
    client.request("GET", server.url, headers={"Authorization": "Bearer "})
    assert server.requests[0].headers["authorization"] == "Bearer"


def test_what_a_source_compresses_comes_as_it_was_sent(serve, client):
    sent = gzip.compress(b"whole")
    server = serve(Reply(headers={"Content-Encoding": "gzip"}, body=sent))
    answer = client.request("GET", server.url)
    assert (answer.body, answer.headers["content-encoding"]) == (sent, "gzip")


def test_headers_are_latin_1(serve, client):
    server = serve([b"HTTP/1.1 200 OK\r\nX: caf\xc3\xa9 \xe9\r\nContent-Length: 0\r\n\r\n"])
    assert client.request("GET", server.url).headers["x"] == "cafÃ© é"


def test_a_connection_that_the_source_closed_is_not_used_again(client_of):
    closed = threading.Semaphore(0)

    def serve_once_each() -> None:
        with suppress(OSError):  # closed
            while True:
                here, _ = listener.accept()
                here.recv(65536)
                here.sendall(OK.raw())
                here.close()
                closed.release()

    client = client_of(max_attempts=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve_once_each, daemon=True).start()
        for _ in range(3):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert client.request("GET", url).body == b"whole"
            assert closed.acquire(timeout=10)


@pytest.mark.slow
def test_a_request_that_is_taken_slowly_is_not_sent_for_ever(client_of):
    size = 50_000_000
    taken = []

    def take_slowly() -> None:
        with suppress(OSError):  # the client went away
            here, _ = listener.accept()
            with here:
                while sum(taken) < size:
                    taken.append(len(here.recv(65536)))
                    time.sleep(0.02)
                here.sendall(OK.raw())

    client = client_of(timeout_seconds=30, deadline_seconds=0.5, max_attempts=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        threading.Thread(target=take_slowly, daemon=True).start()
        with pytest.raises(TransientError) as caught:
            client.request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}", json="x" * size)
    assert "WriteTimeout" in caught.value.found


@pytest.mark.parametrize("token", ["line\nbreak", "accént-token"])
def test_a_header_that_cannot_be_sent_is_refused_unquoted(serve, client, token, caplog):
    with pytest.raises(ConfigurationError) as caught:
        client.request("GET", serve(OK).url, headers={"Authorization": token})
    message = texts_of_error_and_logs(caught.value, caplog)
    assert "look for a line break or an accent" in message
    assert token not in message
    assert repr(token)[1:-1] not in message


def test_requests_of_many_threads_share_connections(serve, client):
    server = serve(OK)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.request("GET", f"{server.url}/{n}"), range(64)))
    assert [answer.url for answer in answers] == [f"{server.url}/{n}" for n in range(64)]
    assert server.connection_count <= 8


def test_requests_are_in_flight_together(serve, client):
    together = threading.Barrier(4, timeout=10)

    def handler(_):
        together.wait()
        return OK

    server = serve(OK)
    server.handler = handler
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: client.request("GET", server.url), range(4))
        assert [answer.status for answer in answers] == [200] * 4


def test_no_secret_reaches_a_log_an_error_or_a_state_file(serve, client_of, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = ["hunter2hunter2", "T0k3n/ab", "k3y-of-query", "k3y+of+header", "p4ss-in-url"]
    password, token, query, header, in_url = secrets
    echo = Reply(
        500, body=" ".join(["no entry for", *secrets, "bWU6aHVudGVyMmh1bnRlcjI="]).encode()
    )
    server = serve(echo)
    client = client_of(failures=1)
    url = (
        server.url.replace("://", f"://user:{in_url}@")
        + f"/x?apikey={query}&access_token=T0k3n%2Fab"
    )
    with pytest.raises(TransientError) as failed:
        client.request(
            "POST",
            url,
            headers={"X-API-KEY": header},
            basic_auth=("me", password),
        )
    with pytest.raises(TransientError) as refused:
        client.request("GET", url, headers={"Authorization": f"Bearer {token}"})
    message = texts_of_error_and_logs(failed.value, caplog) + texts_of_error_and_logs(
        refused.value, caplog
    )
    message += "".join(
        path.read_bytes().decode("latin-1") for path in (tmp_path / "http").iterdir()
    )
    assert "no entry for *** *** *** *** *** ***" in message
    assert [secret for secret in [*secrets, "T0k3n%2F", "bWU6aHVu"] if secret in message] == []


def test_a_token_that_the_source_repeats_is_not_shown(serve, client, caplog):
    token = "s3cr3t-t0k3n"
    server = serve(Reply(500, body=f"token {token} has expired".encode()))
    with pytest.raises(TransientError, match=r"'token \*\*\* has expired'") as caught:
        client.request("GET", server.url, headers={"Authorization": f"Bearer {token}"})
    assert token not in texts_of_error_and_logs(caught.value, caplog)


def test_each_retry_is_logged(serve, client, caplog):
    server = serve(Reply(503, body=b"busy"), OK)
    client.request("GET", f"{server.url}/x?token=abcdef")
    [line] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.name == "orchestration_project.http"
    assert re.fullmatch(
        re.escape(
            f"test_api: GET {server.url}/x?token=*** failed (attempt 1: status 503 with 'busy')"
        )
        + r"; next attempt in 0\.\d\d s",
        line.getMessage(),
    )


def test_a_proxy_from_the_environment_is_asked(serve, client_of, monkeypatch):
    proxy, direct = serve(Reply(body=b"by proxy")), serve(OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:word@"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = client_of()
    assert client.request("GET", "http://source.invalid/data").body == b"by proxy"
    assert proxy.requests[0].target == "http://source.invalid/data"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"
    assert client.request("GET", direct.url).body == b"whole"


def test_what_drips_through_a_proxy_is_not_waited_for_for_ever(serve, client_of, monkeypatch):
    proxy = serve(dripping(Reply(headers={"X-Long": "x" * 1000}).raw(), 0.05), OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    answer = client_of(deadline_seconds=0.5).request("GET", "http://source.invalid/data")
    assert answer.body == b"whole"


@pytest.mark.parametrize("hosts", ["127.0.0.1:{port}", "other.invalid, 127.0.0.1", "*"])
def test_no_proxy_is_asked_for_these_hosts(serve, client_of, monkeypatch, hosts):
    proxy, direct = serve(Reply(body=b"by proxy")), serve(OK)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", hosts.format(port=direct.server_address[1]))
    assert client_of().request("GET", direct.url).body == b"whole"
    assert proxy.requests == []


@pytest.mark.parametrize(
    "address",
    ["http://user:p4ss#w0rd@host:1", "http://user:p4ss@host/path", "socks5://user:p4ss@host:1"],
)
def test_a_malformed_proxy_is_a_configuration_error_without_its_password(
    client_of, monkeypatch, address
):
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(ConfigurationError, match="HTTP_PROXY") as caught:
        client_of()
    assert "p4ss" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(pem)
    )
    return path


@pytest.fixture
def tls(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    return context


@pytest.fixture
def tls_server(serve, tls):
    return serve(OK, tls=tls)


def test_an_own_certificate_authority_is_trusted(tls_server, client_of, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert client_of().request("GET", tls_server.url).body == b"whole"


class Tunnels:
    """A proxy that connects what is asked of it, and keeps what was asked."""

    def __init__(self) -> None:
        self.requested: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                here, _ = self._listener.accept()
                requested = b""
                while not requested.endswith(b"\r\n\r\n"):
                    requested += here.recv(4096)
                self.requested.append(requested)
                host, port = requested.split()[1].decode().split(":")
                there = socket.create_connection((host, int(port)))
                here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with one:
            with suppress(OSError):  # closed
                while data := one.recv(4096):
                    other.sendall(data)
            with suppress(OSError):  # closed, too
                other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_https_goes_through_a_tunnel_of_the_proxy(tls_server, client_of, authority, monkeypatch):
    with closing(Tunnels()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:wo%3Ard@{proxy.address}")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        client = client_of()
        answers = [client.request("GET", tls_server.url).body for _ in range(2)]
    assert answers == [b"whole"] * 2
    [requested] = proxy.requested
    assert requested.startswith(f"CONNECT {tls_server.url.removeprefix('https://')} ".encode())
    assert b"Basic dXNAZXI6d286cmQ=\r\n" in requested
    assert all(b"proxy" not in name.encode() for name in tls_server.requests[0].headers)


def test_what_drips_by_tls_is_not_waited_for_for_ever(
    serve, tls, client_of, authority, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server = serve(dripping(Reply(body=b"x" * 1000).raw(), 0.05), OK, tls=tls)
    answer = client_of(timeout_seconds=5, deadline_seconds=1).request("GET", server.url)
    assert answer.body == b"whole"


def test_what_drips_by_tls_through_a_proxy_is_not_waited_for_for_ever(
    serve, tls, client_of, authority, monkeypatch
):
    server = serve(dripping(Reply(body=b"x" * 1000).raw(), 0.05), OK, tls=tls)
    with closing(Tunnels()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        answer = client_of(timeout_seconds=5, deadline_seconds=1).request("GET", server.url)
    assert answer.body == b"whole"
    assert len(proxy.requested) == 2


@pytest.mark.slow_after_first
@pytest.mark.parametrize("is_by_proxy", [False, True])
def test_a_tls_handshake_that_drips_is_not_waited_for_for_ever(client_of, monkeypatch, is_by_proxy):
    def drip() -> None:
        with suppress(OSError):  # the client went away
            here, _ = listener.accept()
            with here:
                here.recv(65536)
                here.sendall(b"\x16\x03\x03\x40\x00")  # the head of a record of 16 KiB
                for part in dripping(b"x" * 16_384, 0.05):
                    here.sendall(part)

    client = {"timeout_seconds": 30, "deadline_seconds": 0.5, "max_attempts": 1}
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(Tunnels()) as proxy:
        threading.Thread(target=drip, daemon=True).start()
        if is_by_proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        with pytest.raises(TransientError) as caught:
            client_of(**client).request("GET", f"https://127.0.0.1:{listener.getsockname()[1]}")
    assert "Timeout" in caught.value.found
    assert len(proxy.requested) == is_by_proxy


def test_a_proxy_that_drips_before_the_tunnel_is_not_waited_for_for_ever(
    serve, client_of, monkeypatch
):
    proxy = serve(dripping(Reply(headers={"X-Long": "x" * 1000}).raw(), 0.05))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(TransientError) as caught:
        client_of(deadline_seconds=0.5, max_attempts=1).request("GET", "https://source.invalid")
    assert "ReadTimeout" in caught.value.found


def test_a_proxy_that_opens_no_tunnel_is_retried_and_reported(
    serve, tls_server, client_of, authority, monkeypatch, caplog
):
    proxy = serve(Reply(407, {"Proxy-Authenticate": "Basic"}))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://user:p4ss-w0rd@"))
    with pytest.raises(TransientError) as caught:
        client_of().request("GET", tls_server.url)
    assert "407 Proxy Authentication Required" in caught.value.found
    assert [requested.method for requested in proxy.requests] == ["CONNECT"] * 3
    assert "p4ss-w0rd" not in texts_of_error_and_logs(caught.value, caplog)
    assert tls_server.requests == []


def test_a_certificate_behind_a_proxy_that_is_not_trusted_is_a_configuration_error(
    tls_server, client_of, monkeypatch
):
    with closing(Tunnels()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        with pytest.raises(ConfigurationError) as caught:
            client_of().request("GET", tls_server.url)
    assert "self-signed certificate" in caught.value.found


def test_a_proxy_is_asked_by_tls_if_its_address_says_so(
    serve, tls, client_of, authority, monkeypatch
):
    proxy = serve(Reply(body=b"by proxy"), tls=tls)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert client_of().request("GET", "http://source.invalid/x").body == b"by proxy"
    assert proxy.requests[0].target == "http://source.invalid/x"


def test_a_certificate_that_is_not_trusted_is_a_configuration_error(tls_server, client):
    with pytest.raises(ConfigurationError) as caught:
        client.request("GET", tls_server.url)
    assert "SSL_CERT_FILE" in caught.value.remedy
    assert "self-signed certificate" in caught.value.found
    assert tls_server.connection_count == 1


def test_a_missing_certificate_file_is_a_configuration_error(client_of, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        client_of()


def test_certificates_that_cannot_be_read_matter_to_tls_alone(
    serve, tls_server, client_of, tmp_path, monkeypatch
):
    (tmp_path / "damaged.pem").write_text("damaged")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "damaged.pem"))
    client = client_of()
    assert client.request("GET", serve(OK).url).body == b"whole"
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        client.request("GET", tls_server.url)


def test_an_unusable_state_folder_is_a_configuration_error(client_of, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="make STATE_DIR writable"):
        client_of(state_dir=tmp_path / "file")


def test_a_damaged_state_file_is_a_configuration_error(client_of, tmp_path):
    (tmp_path / "http").mkdir()
    (tmp_path / "http" / "http.sqlite").write_text("damaged " * 1000)
    with pytest.raises(ConfigurationError, match=r"http\.sqlite cannot be used"):
        client_of()


def test_every_attempt_of_all_processes_is_counted_by_how_it_ended(serve, client_of, tmp_path):
    server = serve(HTML_504, Reply(200, {}, b""))
    for client in (client_of(), client_of()):
        with client:
            client.request("GET", server.url)
            client.request("GET", server.url)
    with client_of(max_attempts=2) as client, pytest.raises(TransientError):
        client.request("GET", free_url())
    found = read_systems(tmp_path)
    assert set(found) == {"test_api"}
    assert found["test_api"].requests == {"200": 4, "504": 1, "no_answer": 2}
    assert (found["test_api"].retries, found["test_api"].is_open) == (2, False)
    (tmp_path / "http" / "http.sqlite").write_text("damaged " * 1000)
    with pytest.raises(ConfigurationError, match=r"http\.sqlite cannot be read"):
        read_systems(tmp_path)


def fail(client: HttpClient, server: FaultyServer, times: int) -> None:
    for _ in range(times):
        with pytest.raises(TransientError, match="did not answer"):
            client.request("GET", server.url)


def test_after_failures_in_a_row_no_process_asks_any_more(serve, client_of, wall):
    server = serve(HTML_504)
    one, other = client_of(max_attempts=1), client_of(max_attempts=1)
    fail(one, server, 2)
    wall.pass_seconds(1)
    fail(other, server, 3)
    wall.pass_seconds(59.9)
    with pytest.raises(TransientError) as caught:
        one.request("GET", server.url)
    error = caught.value
    assert error.what == "test_api is not asked, because it failed 5 requests in a row"
    assert error.found.startswith(
        "open since 2026-01-01T00:00:01+00:00; the last failure: status 504 with '<html>"
    )
    assert error.remedy.startswith("requests are retried from 2026-01-01T00:01:01+00:00")
    assert error.context == {"system": "test_api", "url": server.url}
    assert len(server.requests) == 5


def test_when_the_time_is_up_one_request_tries_and_its_success_lets_all_in(serve, client_of, wall):
    server = serve(HTML_504)
    one, other = client_of(max_attempts=1), client_of(max_attempts=1)
    fail(one, server, 5)
    wall.pass_seconds(60)

    def handler(_):
        with pytest.raises(TransientError, match="is not asked"):
            other.request("GET", server.url)  # while the first one tries
        return OK

    server.handler = handler
    assert one.request("GET", server.url).status == 200
    server.handler = one_after_another(OK)
    assert other.request("GET", server.url).status == 200
    assert len(server.requests) == 7


def test_a_try_that_fails_keeps_the_breaker_open_for_as_long_again(serve, client_of, wall):
    server = serve(HTML_504)
    client = client_of(max_attempts=1)
    fail(client, server, 5)
    wall.pass_seconds(60)
    fail(client, server, 1)
    wall.pass_seconds(59)
    with pytest.raises(TransientError, match="open since 2026-01-01T00:00:00"):
        client.request("GET", server.url)
    wall.pass_seconds(1)
    fail(client, server, 1)
    assert len(server.requests) == 7


def refusal_by(error: BaseException) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


@pytest.mark.parametrize(
    "error", [TransientError("the quota has ended"), KeyboardInterrupt(), MemoryError()]
)
def test_a_try_that_never_left_lets_the_next_one_try(serve, client_of, wall, error):
    server = serve(HTML_504)
    client = client_of(max_attempts=1)
    fail(client, server, 5)
    wall.pass_seconds(60)
    refused = client_of(before_attempt=refusal_by(error))
    with pytest.raises(type(error)):
        refused.request("GET", server.url)
    server.handler = one_after_another(OK)
    assert client.request("GET", server.url).status == 200
    assert len(server.requests) == 6


def test_a_try_that_ends_at_a_certificate_lets_the_next_one_try(serve, tls_server, client_of, wall):
    server = serve(HTML_504)
    client = client_of(max_attempts=1)
    fail(client, server, 5)
    wall.pass_seconds(60)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="certificate"):
            client.request("GET", tls_server.url)
    server.handler = one_after_another(OK)
    assert client.request("GET", server.url).status == 200


def test_a_try_that_ended_too_late_leaves_the_turn_to_the_one_after_it(serve, client_of, wall):
    server = serve(HTML_504)
    client = client_of(max_attempts=1)
    fail(client, server, 5)
    wall.pass_seconds(60)

    def be_overtaken() -> None:
        wall.pass_seconds(60)
        fail(client, server, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client_of(before_attempt=be_overtaken).request("GET", server.url)
    with pytest.raises(TransientError, match="is not asked"):
        client.request("GET", server.url)


def test_who_asks_anyway_finds_out_and_an_answer_lets_all_in(serve, client_of):
    server = serve(HTML_504)
    client, anyway = client_of(max_attempts=1), client_of(max_attempts=1, ignores_breaker=True)
    fail(client, server, 5)
    fail(anyway, server, 1)
    with pytest.raises(TransientError, match="is not asked"):
        client.request("GET", server.url)
    server.handler = one_after_another(OK)
    assert anyway.request("GET", server.url).status == 200
    assert client.request("GET", server.url).status == 200
    assert len(server.requests) == 8


def test_a_success_and_a_refusal_end_the_row_of_failures(serve, client_of):
    server = serve(OK)
    client = client_of(max_attempts=1, max_body_bytes=1000)
    for answer in (OK, Reply(404), Reply(body=b"x" * 2000)):
        server.handler = one_after_another(HTML_504)
        fail(client, server, 4)
        server.handler = one_after_another(answer)
        if answer.body.startswith(b"xx"):
            with pytest.raises(SourceError):
                client.request("GET", server.url)
        else:
            client.request("GET", server.url)
    server.handler = one_after_another(HTML_504)
    fail(client, server, 4)


def test_a_clock_that_was_set_back_does_not_keep_the_breaker_open(serve, client_of, wall):
    server = serve(HTML_504)
    client = client_of(max_attempts=1)
    fail(client, server, 5)
    wall.pass_seconds(-3600)
    server.handler = one_after_another(OK)
    assert client.request("GET", server.url).status == 200


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process in the background of a script ignores SIGINT, and so would the test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_request_is_neither_failure_nor_success(
    serve, client_of, wall, interruptible
):
    server = serve(HTML_504)
    client = client_of(max_attempts=1)
    fail(client, server, 4)
    server.handler = one_after_another(dripping(OK.raw(), 0.2))
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        client.request("GET", server.url)
    server.handler = one_after_another(HTML_504)
    fail(client, server, 1)
    with pytest.raises(TransientError, match="failed 5 requests in a row"):
        client.request("GET", server.url)


PER_SECOND = 20


def _ask_with_threads(state_dir, url, times, threads, ready, begun):
    with (
        make_client(
            state_dir,
            "test_api",
            requests_per_second=PER_SECOND,
            now=Wall(),
            max_attempts=5,
            wait_seconds=0.5,
        ) as client,
        ThreadPoolExecutor(threads) as pool,
    ):
        ready.wait()
        begun.put(time.monotonic())
        list(pool.map(lambda _: client.request("GET", url), range(times)))


@pytest.mark.slow
def test_the_rate_holds_over_threads_and_processes(serve, tmp_path):
    """One more than fits into so many seconds arrives after them, however slow the machine.

    A single arrival says nothing of when it left: it may have been on its way for long.
    """
    server = serve(OK)
    processes, seconds = 3, 3
    spawn = multiprocessing.get_context("spawn")
    ready, begun = spawn.Barrier(processes), spawn.Queue()
    shares = [PER_SECOND * seconds // processes] * (processes - 1)
    shares.append(PER_SECOND * seconds + 1 - sum(shares))
    workers = [
        spawn.Process(target=_ask_with_threads, args=(tmp_path, server.url, share, 8, ready, begun))
        for share in shares
    ]
    for worker in workers:
        worker.start()
    first = min(begun.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * processes
    arrivals = [request.arrived for request in server.requests]
    assert len(arrivals) == PER_SECOND * seconds + 1
    assert max(arrivals) - first >= seconds
