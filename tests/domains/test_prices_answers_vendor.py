"""Messages of Alpha Vantage in the place of prices, as users report them."""

import json

import pytest

from orchestration_project.domains.prices.answers import refusal_of

THANKS = "Thank you for using Alpha Vantage!"
PLANS = "any of the premium plans at https://www.alphavantage.co/premium/"

SAID = {
    "a burst, which names the limit a day too": (
        "Information",
        f"{THANKS} Please consider spreading out your free API requests more sparingly (1 request "
        f"per second). You may subscribe to {PLANS} to lift the free key rate limit (25 requests "
        "per day), raise the per-second burst limit, and instantly unlock all premium endpoints",
        "rate",
    ),
    "the older note of a rate": (
        "Note",
        f"{THANKS} Our standard API call frequency is 5 calls per minute and 500 calls per day.",
        "rate",
    ),
    "a day's quota, with the key": (
        "Information",
        "We have detected your API key as ABCDEFGH12345678 and our standard API rate limit is 25 "
        f"requests per day. Please subscribe to {PLANS} to instantly remove all daily rate limits.",
        "quota",
    ),
    "the same as a note": (
        "Note",
        "We have detected your API key as X and our standard API rate limit is 25 requests per day",
        "quota",
    ),
    "a premium endpoint": (
        "Information",
        f"{THANKS} This is a premium endpoint. You may subscribe to {PLANS} to instantly unlock "
        "all premium endpoints",
        "premium",
    ),
    "a premium parameter": (
        "Information",
        f"{THANKS} The outputsize=full parameter value is a premium feature for the "
        f"TIME_SERIES_DAILY endpoint. You may subscribe to {PLANS}",
        "premium",
    ),
    "an unknown symbol": (
        "Error Message",
        "Invalid API call. Please retry or visit the documentation for TIME_SERIES_DAILY.",
        "unknown_symbol",
    ),
    "a wrong key": (
        "Error Message",
        "the parameter apikey is invalid or missing. Please claim your free API key",
        "key",
    ),
    "a key for demonstrations": (
        "Information",
        "The **demo** API key is for demo purposes only. Please claim your free API key",
        "key",
    ),
    "an unknown text": ("Information", "Our cat sleeps on the keyboard.", "other"),
}


@pytest.mark.parametrize("case", SAID)
def test_the_wording_gives_the_meaning_of_a_refusal(case: str):
    member, text, kind = SAID[case]
    found = refusal_of(json.dumps({member: text}).encode())
    assert found is not None
    assert (found.kind, found.said) == (kind, text)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "empty"),
        (b"[]", "empty"),
        (b"<html><body>Bad gateway</body></html>", "no_json"),
        (b"", "no_json"),
        (b"\xff\xfe", "no_json"),
        (b"[" * 100_000, "no_json"),
        (b'{"Meta Data": {}}', "other"),
        (b'{"Note": 5}', "other"),
        (b"[1]", "other"),
    ],
)
def test_what_is_no_answer_is_a_refusal_too(body: bytes, kind: str):
    found = refusal_of(body)
    assert found is not None
    assert found.kind == kind


def test_an_answer_with_prices_is_none():
    assert refusal_of(b'{"Meta Data": {}, "Time Series (Daily)": {}}') is None
