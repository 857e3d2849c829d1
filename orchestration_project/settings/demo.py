"""What the embedded demo sources make up."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class DemoSettings(BaseSettings):
    """The demo."""

    demo_rows_per_week: int = Field(
        160_000,
        ge=300,
        le=1_000_000,  # more run out of tickers
        description="Firm rows a week that the demo source makes, over all tiers.",
    )
    demo_seed: int = Field(20_250_106, ge=0, description="Seed of the demo's market.")
    demo_latency_seconds: float = Field(0.0, ge=0, description="Delay of each demo answer.")
    demo_requests_per_second: int = Field(
        20, ge=0, description="Rate above which the demo answers 429; 0: no limit."
    )
    demo_saas_tasks: int = Field(
        40, ge=0, description="Tasks that the demo of PeopleForce starts with."
    )
    demo_idle_seconds: float = Field(900, gt=0, description="The demo ends after this long unused.")
    demo_prices_vendor: Literal["yahoo", "alpha_vantage"] = Field(
        "yahoo", description="As which vendor the demo is asked for prices."
    )
    demo_vendor_requests_per_day: int = Field(
        25,
        ge=0,
        description="What the demo of Alpha Vantage grants a free key, one a second; 0: no limit.",
    )
