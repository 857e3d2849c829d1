"""Settings of a domain with one source of documents: which one, its address, days and rejects."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, create_model

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import about

A_YEAR = timedelta(days=365)

Source = Annotated[Literal["demo", "api"] | None, AfterValidator(require_profile)]


@dataclass(frozen=True, kw_only=True)
class SourceTexts:
    """Names of a domain's source in texts.

    Attributes:
        domain: Name of the domain, which begins the names of its settings.
        title: The domain in texts, such as Cboe.
        description: What the domain has, a sentence.
        publisher: Who publishes it, such as "the ECB".
        subject: What it is, such as "euro reference rates".
        documents: What the publisher's documents are called.
        records: What a day has, such as rates.
    """

    domain: str
    title: str
    description: str
    publisher: str
    subject: str
    documents: str
    records: str

    @property
    def setting(self) -> str:
        """The setting that chooses the source."""
        return f"{self.domain.upper()}_SOURCE"


def source_settings(texts: SourceTexts, *, url: str, first_day: date) -> type[Settings]:
    """Return the class of a domain's settings.

    Args:
        texts: Names of its source.
        url: Default of the base URL.
        first_day: First day that the source has.
    """
    demo = f"Source of {texts.subject}: the embedded demo, or {texts.publisher}."
    shares = f"Share of rejected {texts.records} above which a day is quarantined."
    is_chosen = about(
        default="(demo; none if DATA_PROFILE=real)",
        required_when=f"DATA_PROFILE=real, for {texts.title} jobs",
    )
    fields: dict[str, Any] = {
        "source": (Source, Field(None, description=demo, json_schema_extra=is_chosen)),
        "api_url": (
            str,
            Field(url, description=f"Base URL of {texts.publisher}'s {texts.documents}."),
        ),
        "first_day": (
            date | None,
            Field(
                None,
                ge=first_day,
                description="First daily partition.",
                json_schema_extra=about(default="(365 days ago)"),
            ),
        ),
        "max_reject_ratio": (
            float,
            Field(0.0, ge=0, le=1, description=shares, json_schema_extra=about(unit="ratio")),
        ),
    }
    model = create_model(
        f"{texts.domain.capitalize()}Settings",
        __base__=Settings,
        __doc__=texts.description,
        **{f"{texts.domain}_{name}": value for name, value in fields.items()},
    )
    model.domain, model.indicators = texts.domain, frozenset({"freshness"})
    return model


class SourceValues(NamedTuple):
    """Values of the settings that `source_settings` declares."""

    source: str | None
    api_url: str
    first_day: date | None
    max_reject_ratio: float

    def first_from(self, today: date) -> date:
        """Return the first day that is a partition."""
        return self.first_day or today - A_YEAR


def source_values(settings: Settings, domain: str) -> SourceValues:
    """Return the values of a domain with such settings."""
    return SourceValues(*(getattr(settings, f"{domain}_{name}") for name in SourceValues._fields))
