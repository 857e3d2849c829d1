"""TLS in front of a PostgreSQL server that listens on a socket alone."""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.engine import make_url

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""First bytes of a client of PostgreSQL that wants TLS; anything else is hung up on."""


def make_certificate(
    folder: Path, name: str = "localhost", *, valid: timedelta = timedelta(days=1)
) -> tuple[Path, Path]:
    """Return the files of a new key and of its certificate, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(tz=UTC)  # noqa: TID251 - the time by which TLS judges it
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


@dataclass
class TlsProxy:
    """TLS proxy in front of the server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        certificate: The file of the only authority that vouches for it.
        versions: The version of TLS of each connection that it let in.
    """

    port: int
    certificate: Path
    versions: list[str | None] = field(default_factory=list)

    def url(self, url: str, **options: str) -> str:
        """Return a URL of the server by way of this proxy, with these options of libpq."""
        behind = make_url(url).set(host="localhost", port=self.port, query=options)
        return behind.set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def tls_proxy(server_url: str, folder: Path) -> Iterator[TlsProxy]:
    """Let clients reach a server that listens on a Unix socket, by TLS alone."""
    key, certificate = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    path = f"{make_url(server_url).query['host']}/.s.PGSQL.5432"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = TlsProxy(listener.getsockname()[1], certificate)

        def let_in() -> None:
            with suppress(OSError):  # the listener was closed
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, context, path, proxy)).start()

        threading.Thread(target=let_in).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, context: ssl.SSLContext, path: str, proxy: TlsProxy) -> None:
    with closing(client), suppress(OSError), socket.socket(socket.AF_UNIX) as server:
        if client.recv(len(SSL_REQUEST), socket.MSG_WAITALL) != SSL_REQUEST:
            return
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as inside:  # a client may refuse us
            proxy.versions.append(inside.version())
            server.connect(path)
            _carry(inside, server)


def _carry(client: ssl.SSLSocket, server: socket.socket) -> None:
    """Carry both ways in one thread: a TLS connection must not be used by two."""
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for end, other in ((client, server), (server, client)):
            if end in ready:
                received = end.recv(65_536)
                if not received:
                    return
                other.sendall(received)
