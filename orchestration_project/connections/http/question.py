"""What is asked of a system, and how to speak of it without its secrets."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from orchestration_project.errors import SourceError
from orchestration_project.redaction import redacted
from orchestration_project.settings import without_secrets

SECRET_WORDS = ("authorization", "cookie", "key", "password", "secret", "signature", "token")
SECRET_LENGTH = 4  # to hide every "1" of a text would hide the text, and no secret
TOKEN_LENGTH = 12  # in ?sort_key=symbol, just the name sounds like a secret
QUOTED_CHARACTERS = 200


@dataclass(frozen=True)
class Question:
    """One request as it may be shown: in logs, errors and state files."""

    system: str
    method: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        system: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        basic_auth: tuple[str, str] | None,
    ) -> "Question":
        """Return the request with the values that must not be shown set apart.

        Raises:
            SourceError: ``url`` is none.
        """
        try:
            secrets = _secrets_of(url, headers, basic_auth)
            return cls(system, method, _hide(secrets, redacted(without_secrets(url))), secrets)
        except ValueError:  # its text quotes the URL, whose secrets nobody can tell apart
            raise SourceError(
                f"{system}: what should be a URL cannot be asked over HTTP",
                expected="a URL such as https://host/path",
                remedy="correct the setting or the answer that the URL comes from",
                system=system,
            ) from None

    def quote(self, text: str) -> str:
        """Return the first characters of ``text``, escaped to ASCII, its secrets hidden."""
        return ascii(_hide(self.secrets, redacted(text))[:QUOTED_CHARACTERS])

    @property
    def tokens(self) -> tuple[str, ...]:
        """The secrets that nobody would mistake for a word, without "Bearer"."""
        return tuple(
            each for each in self.secrets if len(each) >= TOKEN_LENGTH and each.split() == [each]
        )


def _secrets_of(
    url: str, headers: Mapping[str, str], basic_auth: tuple[str, str] | None
) -> tuple[str, ...]:
    """Return the secret values in every spelling in which a source may send them back."""
    parts = urlsplit(url)
    query = [pair.partition("=")[::2] for pair in parts.query.split("&")]
    named = [*headers.items(), *query]
    values = {value for name, value in named if any(word in name.lower() for word in SECRET_WORDS)}
    of_url = unquote(parts.username or ""), unquote(parts.password or "")
    for user, password in (basic_auth or ("", ""), of_url):
        values |= {password, b64encode(f"{user}:{password}".encode()).decode()}
    values |= {parts.password or ""}
    values |= {value.split()[-1] for value in values if value.strip()}  # without "Bearer"
    values |= {unquote(value) for value in values}
    return tuple(sorted((value for value in values if len(value) >= SECRET_LENGTH), key=len))[::-1]


def _hide(secrets: tuple[str, ...], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
