"""robots.txt by RFC 9309: what is allowed, disallowed, and what failures mean."""

import pytest

from orchestration_project.domains.web.robots import (
    MAX_CRAWL_DELAY_SECONDS,
    MAX_ROBOTS_BYTES,
    read_robots,
)

AGENT = "examplebot"
SHOP = "https://shop.example"

EXAMPLE = b"""
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow: /
Allow: /example/page.html
Allow: /example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""
"""The example of RFC 9309, 5.1."""


@pytest.mark.parametrize(
    ("agent", "path", "is_allowed"),
    [
        ("anybot", "/publications/x", True),
        ("anybot", "/example/x", False),
        ("anybot", "/a.gif", False),
        ("anybot", "/a.gif?x", True),
        ("foobot", "/example/page.html", True),
        ("foobot", "/publications/x", False),
        ("FooBot", "/example/allowed.gif", True),
        ("bazbot", "/example/page.html", False),
        ("barbot", "/example/disallowed.gif", True),
        ("quxbot", "/example/page.html", True),
    ],
)
def test_the_example_of_the_rfc(agent: str, path: str, is_allowed: bool):
    verdict = read_robots(200, EXAMPLE).verdict(f"{SHOP}{path}", agent)
    assert verdict == ("allowed" if is_allowed else "disallowed")


@pytest.mark.parametrize(
    ("rules", "path", "is_allowed"),
    [
        ("Allow: /p\nDisallow: /", "/page", True),  # the longest match counts
        ("Allow: /folder\nDisallow: /folder", "/folder/page", True),  # equal ones: allow
        ("Allow: /page\nDisallow: /*.htm", "/page.htm", False),
        ("Disallow: /a%3Cd.html", "/a%3cd.html", False),
        ("Disallow: /foo/bar/\u30c4", "/foo/bar/%E3%83%84", False),
        ("Disallow:", "/", True),
        ("Disallow: /x # a comment", "/x", False),
        ("Disallow: /\nAllow: /$", "/", True),
    ],
)
def test_the_longest_rule_counts(rules: str, path: str, is_allowed: bool):
    robots = read_robots(200, f"User-agent: *\n{rules}\n".encode())
    verdict = robots.verdict(f"{SHOP}{path}", AGENT)
    assert verdict == ("allowed" if is_allowed else "disallowed")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((408, "unreachable"), (425, "unreachable"), (206, "unreachable")),
        *((400, "allowed"), (401, "allowed"), (403, "allowed"), (404, "allowed"), (301, "allowed")),
        *((500, "unreachable"), (503, "unreachable"), (599, "unreachable"), (429, "unreachable")),
        (None, "unreachable"),
    ],
)
def test_a_server_without_rules_allows_all_and_one_that_fails_nothing(
    status: int | None, verdict: str
):
    robots = read_robots(status, b"User-agent: *\nDisallow: /")
    assert robots.verdict(f"{SHOP}/page", AGENT) == verdict
    assert robots.crawl_delay_seconds(AGENT) == 0


def test_a_byte_order_mark_carriage_returns_and_wrong_bytes_are_read():
    body = b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /private\r\n\xff\xfe\x00: x\rDisallow: /cgi\r"
    robots = read_robots(200, body)
    assert robots.verdict(f"{SHOP}/private/x", AGENT) == "disallowed"
    assert robots.verdict(f"{SHOP}/cgi", AGENT) == "disallowed"
    assert robots.verdict(f"{SHOP}/", AGENT) == "allowed"


def test_only_the_first_500_kib_count_and_no_part_of_a_line():
    head = b"User-agent: *\nDisallow: /first\n"
    filler = b"#" * (MAX_ROBOTS_BYTES - len(head) - len(b"\nDisallow: /")) + b"\n"
    robots = read_robots(200, head + filler + b"Disallow: /last\n")
    assert robots.verdict(f"{SHOP}/first", AGENT) == "disallowed"
    assert robots.verdict(f"{SHOP}/other", AGENT) == "allowed"
    assert robots.verdict(f"{SHOP}/last", AGENT) == "allowed"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("10", 10), ("0.5", 0.5), ("0", 0), ("-1", 0), ("x", 0), ("1e9", MAX_CRAWL_DELAY_SECONDS)],
)
def test_a_crawl_delay_is_in_seconds_and_bounded(value: str, seconds: float):
    body = f"User-agent: *\nCrawl-delay: {value}\n".encode()
    assert read_robots(200, body).crawl_delay_seconds(AGENT) == seconds


@pytest.mark.parametrize(
    "between",
    [
        "Noindex: /x",
        "Sitemap: /s.xml",
        "Crawl-delay: 7",
        "Request-rate: 1/5",
        "",
        "# x",
        "x",
        "X: y",
    ],
)
def test_no_other_line_between_user_agents_splits_their_group(between: str):
    text = f"User-agent: {AGENT}\n{between}\nUser-agent: other\nDisallow: /private\n"
    robots = read_robots(200, text.encode())
    for agent in (AGENT, "other"):
        assert robots.verdict(f"{SHOP}/private", agent) == "disallowed"
        assert robots.verdict(f"{SHOP}/", agent) == "allowed"


def test_a_crawl_delay_is_that_of_the_agents_above_it():
    text = f"User-agent: {AGENT}\nDisallow: /a\nCrawl-delay: 7\nUser-agent: other\nDisallow: /b"
    robots = read_robots(200, text.encode())
    assert [robots.crawl_delay_seconds(agent) for agent in (AGENT, "other", "third")] == [7, 0, 0]
    assert robots.verdict(f"{SHOP}/b", AGENT) == "allowed"
    assert robots.verdict(f"{SHOP}/b", "other") == "disallowed"
