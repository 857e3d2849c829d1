"""Settings of sites: where their files are, and how crawls introduce themselves."""

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from orchestration_project.settings.about import about
from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import from_root


class WebSettings(Settings):
    """Crawls of sites that YAML files declare."""

    domain: ClassVar[str] = "web"
    without_effect: ClassVar[frozenset[str]] = frozenset({"web_sites_dir", "web_contact"})

    web_source: Annotated[Literal["demo", "http"] | None, AfterValidator(require_profile)] = Field(
        None,
        description="Source of pages: the embedded demo's shop, or sites of the internet.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for web jobs",
        ),
    )
    web_sites_dir: Path = Field(
        Path("sites"),
        description="Folder of site files, <site>.yaml.",
    )
    web_contact: str | None = Field(
        None,
        pattern=r"^[!-~]{3,200}$",
        description="Address or URL in the User-Agent of crawls, for owners of sites.",
        json_schema_extra=about(required_when="WEB_SOURCE=http"),
    )
    demo_shop_products: int = Field(
        400,
        ge=20,
        le=100_000,
        description="Number of products of the embedded demo's shop.",
        json_schema_extra=about(group="demo", unit="products"),
    )
    demo_shop_new_layout_from: date = Field(
        date(2026, 11, 3),
        description="Day from which the embedded demo's shop has another layout.",
        json_schema_extra=about(group="demo"),
    )

    @property
    def web_sites_path(self) -> Path:
        """The folder of site files, absolute."""
        return from_root(self.web_sites_dir)
