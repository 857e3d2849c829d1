"""Certificates of TLS: until when they are valid, and for which hosts; of a file, or as served."""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration_project.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from cryptography import x509

CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Certificate:
    """The first certificate of a chain.

    Attributes:
        ends_at: Until when it is valid.
        names: Hosts and addresses that it is for, maybe with `*.` before them.
        place: Where it was found, for people.
    """

    ends_at: datetime
    names: Sequence[str]
    place: str

    def is_for(self, host: str) -> bool:
        """Whether it is for a host."""
        wildcard = f"*.{host.partition('.')[2]}"
        return any(name.lower() in (host.lower(), wildcard.lower()) for name in self.names)


def read_certificate(file: Path, setting: str) -> Certificate:
    """Return the first certificate of a PEM file, which ``setting`` names.

    Raises:
        ConfigurationError: The file cannot be read, or holds no certificate.
    """
    from cryptography import x509  # 50 ms, for the few who look

    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError, IndexError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no certificate in it"
        raise ConfigurationError(
            f"the certificate of {setting} cannot be read",
            expected=f"a PEM file at {file}",
            found=str(reason),
            remedy=f"correct {setting}, or the permissions of the file",
        ) from error
    return _build_certificate(certificate, str(file))


def fetch_certificate(host: str, port: int) -> Certificate:
    """Return the certificate that a server presents, without verifying its issuer.

    Raises:
        TransientError: It does not answer by TLS within 5 s.
    """
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # an expired one is to be read, too; nothing is sent
    try:
        with (
            socket.create_connection((host, port), timeout=CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            content = connection.getpeercert(binary_form=True) or b""
        certificate_bytes = x509.load_der_x509_certificate(content)
    except (OSError, ValueError) as error:
        raise TransientError(
            f"no certificate from {host}:{port}",
            expected="a server with TLS",
            found=str(error) or type(error).__name__,
            remedy="start the proxy, or correct PUBLIC_URL",
        ) from error
    return _build_certificate(certificate_bytes, f"{host}:{port}")


def _build_certificate(found: "x509.Certificate", place: str) -> Certificate:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return Certificate(found.not_valid_after_utc, (), place)
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return Certificate(found.not_valid_after_utc, (*hosts, *addresses), place)
