"""What no further attempt would mend, and what to do about it."""

import ssl

from orchestration_project.connections.http.question import Question
from orchestration_project.errors import ConfigurationError, SourceError


def is_about_certificate(error: BaseException | None) -> bool:
    """Whether ``error`` comes from a certificate that could not be verified."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def untrusted(question: Question, error: Exception) -> ConfigurationError:
    """Return the error of a source whose certificate nobody we know vouches for."""
    return ConfigurationError(
        f"the certificate behind {question.url} is not trusted",
        expected="one of a public authority, or of the one in SSL_CERT_FILE or SSL_CERT_DIR",
        found=str(error),
        remedy="behind a proxy with its own authority, or with a private source, set "
        "SSL_CERT_FILE to the PEM file of that authority; else do not send anything there",
        system=question.system,
        url=question.url,
    )


def no_http_url(question: Question) -> SourceError:
    """Return the error of a URL with another scheme, or without a host."""
    return SourceError(
        f"{question.system}: {question.url!r} cannot be asked over HTTP",
        expected="a URL such as https://host/path",
        remedy="correct the setting or the answer that the URL comes from",
        system=question.system,
        url=question.url,
    )


def malformed(question: Question) -> ConfigurationError:
    """Return the error of a request that HTTP cannot express."""
    return ConfigurationError(
        f"{question.method} {question.url} cannot be sent as HTTP",
        expected="a method and headers of printable ASCII",
        remedy="look for a line break or an accent in a token or key",
        system=question.system,
        url=question.url,
    )
