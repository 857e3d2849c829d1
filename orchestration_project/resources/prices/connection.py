"""Opens the source of daily prices that the settings name."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Unpack

from pydantic import SecretStr

from orchestration_project.domains.prices.settings import PricesSettings, PricesSource
from orchestration_project.domains.prices.symbols import Overrides, Vendor
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import ensure_demo_url
from orchestration_project.engine.environment import open_client, open_shared_state, select_network
from orchestration_project.engine.http import (
    AnswerLimits,
    Hooks,
    HttpClient,
    Policies,
    RetryPolicy,
)
from orchestration_project.resources.prices.alpha_vantage import AlphaVantage, says_too_fast
from orchestration_project.resources.prices.files import PriceFiles
from orchestration_project.resources.prices.quota import Quota
from orchestration_project.resources.prices.source import PriceSource
from orchestration_project.resources.prices.spellings_file import read_spellings
from orchestration_project.resources.prices.yahoo import YahooChart
from orchestration_project.settings import Settings, switched_off

LIMITS = AnswerLimits(max_body_bytes=16 * 1024 * 1024)
"""Maximum bytes of one symbol's whole history, which is a megabyte or two."""

ALPHA_VANTAGE_ATTEMPTS = 3
"""Fewer than elsewhere: each is one of few that are granted a day."""

DEMO_KEYS = {True: SecretStr("premium-demo-key"), False: SecretStr("free-demo-key")}
"""Premium key and free key of the Alpha Vantage demo."""


def prices_source_name(settings: Settings) -> PricesSource:
    """Return PRICES_SOURCE.

    Raises:
        ConfigurationError: It is not set.
    """
    settings = PricesSettings.of(settings)
    if settings.prices_source is None:
        raise switched_off("prices", "PRICES_SOURCE", "alpha_vantage, yahoo or files")
    return settings.prices_source


def in_second_place(settings: Settings) -> Settings:
    """Return the settings with which the second source is opened as if it were the first."""
    settings = PricesSettings.of(settings)
    second = settings.prices_second_source
    name = "demo_prices_vendor" if settings.is_demo else "prices_source"
    return settings.model_copy(update={name: second})


@contextmanager
def opened_prices(
    settings: Settings, captures: Captures, clock: Clock, **http: Any
) -> Iterator[PriceSource]:
    """Open the source that the settings name; ``http`` goes to its client.

    Raises:
        ConfigurationError: None is named, or what it needs is missing.
    """
    name = prices_source_name(settings)
    vendor = settings.demo_prices_vendor if name == "demo" else name
    openers = {
        "alpha_vantage": _open_alpha_vantage,
        "yahoo": _open_yahoo,
        "files": _open_files,
    }
    with openers[vendor](settings, name, captures, clock, http) as source:
        yield source


def spellings(settings: Settings, vendor: Vendor) -> Overrides:
    """Return how ``vendor`` spells some symbols, as PRICES_SYMBOLS_FILE says.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    return read_spellings(settings).get(vendor, {})


@contextmanager
def _open_alpha_vantage(
    settings: Settings, name: str, captures: Captures, clock: Clock, http: Mapping[str, Any]
) -> Iterator[PriceSource]:
    settings = PricesSettings.of(settings)
    is_demo, is_premium = name == "demo", settings.alpha_vantage_is_premium
    system = _name_system("alpha_vantage", is_demo=is_demo)
    api_key = DEMO_KEYS[is_premium] if is_demo else settings.alpha_vantage_api_key
    quota = Quota(
        open_shared_state(settings),
        system=system,
        vendor="Alpha Vantage",
        requests_per_day=None if is_premium else settings.alpha_vantage_requests_per_day,
        now=clock.now,
    )
    client = partial(
        _open_client,
        settings,
        system,
        requests_per_second=settings.alpha_vantage_requests_per_second,
        retries=RetryPolicy(ALPHA_VANTAGE_ATTEMPTS, is_throttled=says_too_fast),
        hooks=Hooks(before_attempt=quota.take),
    )
    with closing(quota), client(**http) as opened:
        yield AlphaVantage(
            opened,
            captures,
            clock,
            quota,
            name=name,
            api_url=ensure_demo_url(settings) if is_demo else settings.alpha_vantage_api_url,
            api_key=api_key or SecretStr(""),
            is_premium=is_premium,
            overrides=spellings(settings, "alpha_vantage"),
        )


@contextmanager
def _open_yahoo(
    settings: Settings, name: str, captures: Captures, clock: Clock, http: Mapping[str, Any]
) -> Iterator[PriceSource]:
    settings = PricesSettings.of(settings)
    is_demo = name == "demo"
    rate = 0 if is_demo else settings.yahoo_requests_per_second
    system = _name_system("yahoo", is_demo=is_demo)
    with _open_client(settings, system, requests_per_second=rate, **http) as opened:
        yield YahooChart(
            opened,
            captures,
            clock,
            name=name,
            api_url=ensure_demo_url(settings) if is_demo else settings.yahoo_api_url,
            overrides=spellings(settings, "yahoo"),
        )


@contextmanager
def _open_files(
    settings: Settings, name: str, captures: Captures, clock: Clock, http: Mapping[str, Any]
) -> Iterator[PriceSource]:
    settings = PricesSettings.of(settings)
    folder = settings.prices_files_dir
    if folder is None:
        raise AssertionError("the settings make sure that files have a folder")
    yield PriceFiles(folder, captures, clock, overrides=spellings(settings, "files"))


def _name_system(vendor: str, *, is_demo: bool) -> str:
    return f"{vendor}_demo" if is_demo else vendor


def _open_client(settings: Settings, system: str, **policies: Unpack[Policies]) -> HttpClient:
    own: Policies = {
        "limits": LIMITS,
        "network": select_network(settings),
    }
    return open_client(settings, system, **(own | policies))
