"""Google's published vectors for robots.txt, as facts: rules, product, path, verdict.

The cases are those of `robots_test.cc` in google/robotstxt. Where Google's verdict is not that of
RFC 9309, `DIFFERENCES` has both, and the RFC's is held.
"""

from typing import NamedTuple

import pytest

from orchestration_project.domains.web.robots import read_robots

HOST = "http://foo.bar"
DENY_ALL = "user-agent: FooBot\ndisallow: /\n"
GROUPS = """allow: /foo/bar/

user-agent: FooBot
disallow: /
allow: /x/
user-agent: BarBot
disallow: /
allow: /y/


allow: /w/
user-agent: BazBot

user-agent: FooBot
allow: /z/
disallow: /
"""
ONLY_OTHERS = (
    "user-agent: FooBot\nallow: /\nuser-agent: BarBot\ndisallow: /\n"
    "user-agent: BazBot\ndisallow: /\n"
)
ANY_OR_FOO = "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n"
TWO_GROUPS = "User-agent: *\nDisallow: /x/\nUser-agent: FooBot\nDisallow: /y/\n"
LONG_PATH = "/x/" + "a" * (2083 * 8 - 20)


class Case(NamedTuple):
    """Rules, and for a product the paths that are allowed and those that are not."""

    rules: str
    allowed: tuple[str, ...] = ()
    disallowed: tuple[str, ...] = ()
    agent: str = "FooBot"


def of_foo(*rules: str) -> str:
    return "user-agent: FooBot\n" + "".join(f"{rule}\n" for rule in rules)


def names(case: str) -> str:
    """Return one set of rules with its names in a case."""
    user_agent, allow, disallow = case.split()
    return f"{user_agent}: FooBot\n{allow}: /x/\n{disallow}: /\n"


CASES = {
    "an empty file": Case("", ("/", "/x/y")),
    "an empty product": Case(DENY_ALL, ("/",), agent=""),
    "lines have a name, a colon and a value": Case(DENY_ALL, (), ("/x/y",)),
    "unknown names": Case("foo: FooBot\nbar: /\n", ("/x/y",)),
    "groups of FooBot are combined": Case(GROUPS, ("/x/b", "/z/d"), ("/y/c", "/foo/bar/")),
    "a group goes on after blank lines": Case(
        GROUPS, ("/y/c", "/w/a"), ("/z/d", "/foo/bar/"), "BarBot"
    ),
    "a group of two products": Case(GROUPS, ("/z/d",), ("/foo/bar/",), "BazBot"),
    "upper case": Case(names("USER-AGENT ALLOW DISALLOW"), ("/x/y",), ("/a/b",)),
    "lower case": Case(names("user-agent allow disallow"), ("/x/y",), ("/a/b",)),
    "mixed case": Case(names("uSeR-aGeNt AlLoW dIsAlLoW"), ("/x/y",), ("/a/b",)),
    "products in any case": Case(
        "User-Agent: FOO\nAllow: /x/\nDisallow: /\n", ("/x/y",), ("/a",), "foo"
    ),
    "the group of the product": Case(ANY_OR_FOO, (), ("/x/y",)),
    "the group of all": Case(ANY_OR_FOO, ("/x/y",), agent="BarBot"),
    "no group": Case(ONLY_OTHERS, ("/x/y",), agent="QuxBot"),
    "paths are case sensitive": Case(of_foo("disallow: /X/"), ("/x/y",), ("/X/y",)),
    "longest, disallow": Case(
        of_foo("disallow: /x/page.html", "allow: /x/"), (), ("/x/page.html",)
    ),
    "longest, allow": Case(
        of_foo("allow: /x/page.html", "disallow: /x/"), ("/x/page.html",), ("/x/",)
    ),
    "empty rules": Case(of_foo("disallow: ", "allow: "), ("/x/page.html",)),
    "equal rules": Case(of_foo("disallow: /", "allow: /"), ("/x/page.html",)),
    "with and without a slash": Case(of_foo("disallow: /x", "allow: /x/"), ("/x/",), ("/x",)),
    "equal long rules": Case(
        of_foo("disallow: /x/page.html", "allow: /x/page.html"), ("/x/page.html",)
    ),
    "a wildcard is longer": Case(
        of_foo("allow: /page", "disallow: /*.html"), ("/page",), ("/page.html",)
    ),
    "a wildcard is shorter": Case(
        of_foo("allow: /x/page.", "disallow: /*.html"), ("/x/page.html",), ("/x/y.html",)
    ),
    "the group of all does not count": Case(TWO_GROUPS, ("/x/page",), ("/y/page",)),
    "reserved characters stay": Case(
        of_foo("disallow: /", "allow: /foo/bar?qux=taz&baz=http://foo.bar?tar&par"),
        ("/foo/bar?qux=taz&baz=http://foo.bar?tar&par",),
    ),
    "a rule that is not ASCII": Case(
        of_foo("disallow: /", "allow: /foo/bar/\u30c4"), ("/foo/bar/%E3%83%84",)
    ),
    "a rule that is encoded": Case(
        of_foo("disallow: /", "allow: /foo/bar/%E3%83%84"), ("/foo/bar/%E3%83%84",)
    ),
    "an encoded letter": Case(
        of_foo("disallow: /", "allow: /foo/bar/%62%61%7A"), ("/foo/bar/%62%61%7A",)
    ),
    "any characters": Case(
        of_foo("disallow: /foo/bar/quz", "allow: /foo/*/qux"),
        ("/foo/quz", "/foo//quz", "/foo/bax/quz"),
        ("/foo/bar/quz",),
    ),
    "the end": Case(
        of_foo("disallow: /foo/bar$", "allow: /foo/bar/qux"),
        ("/foo/bar/qux", "/foo/bar/", "/foo/bar/baz"),
        ("/foo/bar",),
    ),
    "comments": Case(
        of_foo("# disallow: /", "disallow: /foo/quz#qux", "allow: /"), ("/foo/bar",), ("/foo/quz",)
    ),
    "a file": Case(
        "User-Agent: *\nAllow: /allowed-slash/index.html\nDisallow: /\n",
        ("/allowed-slash/index.html",),
        ("/allowed-slash/index.htm", "/anyother-url"),
    ),
    "a line of 16 KiB": Case(
        of_foo(f"disallow: {LONG_PATH}/qux"), ("/fux",), (f"{LONG_PATH}/qux",)
    ),
    "/fish": Case(
        of_foo("disallow: /", "allow: /fish"),
        (
            *("/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html"),
            "/fish.html?id=anything",
        ),
        ("/bar", "/Fish.asp", "/catfish", "/?id=fish"),
    ),
    "/fish*": Case(
        of_foo("disallow: /", "allow: /fish*"),
        (
            *("/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html"),
            "/fish.html?id=anything",
        ),
        ("/bar", "/Fish.bar", "/catfish", "/?id=fish"),
    ),
    "/fish/": Case(
        of_foo("disallow: /", "allow: /fish/"),
        ("/fish/", "/fish/salmon", "/fish/?salmon", "/fish/salmon.html", "/fish/?id=anything"),
        ("/bar", "/fish", "/fish.html", "/Fish/Salmon.html"),
    ),
    "/*.php": Case(
        of_foo("disallow: /", "allow: /*.php"),
        (
            *("/filename.php", "/folder/filename.php", "/folder/filename.php?parameters"),
            *("//folder/any.php.file.html", "/filename.php/", "/index?f=filename.php/"),
        ),
        ("/bar", "/php/", "/index?php", "/windows.PHP"),
    ),
    "/*.php$": Case(
        of_foo("disallow: /", "allow: /*.php$"),
        ("/filename.php", "/folder/filename.php"),
        (
            *("/bar", "/filename.php?parameters", "/filename.php/", "/filename.php5", "/php/"),
            *("/filename?php", "/aaaphpaaa", "//windows.PHP"),
        ),
    ),
    "/fish*.php": Case(
        of_foo("disallow: /", "allow: /fish*.php"),
        ("/fish.php", "/fishheads/catfish.php?parameters"),
        ("/bar", "/Fish.PHP"),
    ),
    "precedence, longer": Case(of_foo("allow: /p", "disallow: /"), ("/page",)),
    "precedence, equal": Case(of_foo("allow: /folder", "disallow: /folder"), ("/folder/page",)),
    "precedence, wildcard": Case(of_foo("allow: /page", "disallow: /*.htm"), (), ("/page.htm",)),
    "precedence, end": Case(of_foo("allow: /$", "disallow: /"), ("/",), ("/page.html",)),
}


def verdict(rules: str, agent: str, path: str) -> str:
    return read_robots(200, rules.encode("utf-8", "surrogateescape")).verdict(
        f"{HOST}{path}", agent
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_verdicts_on_which_google_and_the_rfc_agree(case: Case):
    expected = dict.fromkeys(case.allowed, "allowed")
    expected |= dict.fromkeys(case.disallowed, "disallowed")
    assert {path: verdict(case.rules, case.agent, path) for path in expected} == expected


class Difference(NamedTuple):
    """A URL on which Google and the RFC differ; the RFC's verdict is held."""

    rules: str
    path: str
    google: str
    rfc: str
    agent: str = "FooBot"


SPACE = "User-Agent: *\nDisallow: /\nUser-Agent: Foo Bar\nAllow: /x/\nDisallow: /z\n"
ENCODED = of_foo("disallow: /", "allow: /foo/bar/%E3%83%84")
PLAIN = of_foo("disallow: /", "allow: /foo/bar/\u30c4")
INDEX = "User-Agent: *\nAllow: /dir/index.html\nDisallow: /\n"
DIFFERENCES = {
    "a line without a colon is not a rule": Difference(
        "user-agent FooBot\ndisallow /\n", "/x/y", "disallowed", "allowed"
    ),
    "a product has no space": Difference(SPACE, "/x/y", "allowed", "disallowed", "Foo"),
    "a URL is encoded for a plain rule": Difference(
        PLAIN, "/foo/bar/\u30c4", "disallowed", "allowed"
    ),
    "a URL is encoded for an encoded rule": Difference(
        ENCODED, "/foo/bar/\u30c4", "disallowed", "allowed"
    ),
    "encoded letters are letters": Difference(
        of_foo("disallow: /", "allow: /foo/bar/%62%61%7A"), "/foo/bar/baz", "disallowed", "allowed"
    ),
    "index.html is not a folder": Difference(INDEX, "/dir/", "allowed", "disallowed"),
    "a long line counts as a whole": Difference(
        of_foo(f"disallow: {LONG_PATH}{'a' * 20}/qux"),
        f"{LONG_PATH}{'a' * 20}/fux",
        "disallowed",
        "allowed",
    ),
    "half a byte order mark is part of the line": Difference(
        "\udcef\udcbbUser-Agent: FooBot\nDisallow: /\n", "/x", "disallowed", "allowed"
    ),
}


@pytest.mark.parametrize("case", DIFFERENCES.values(), ids=DIFFERENCES)
def test_where_google_differs_the_rfc_is_held(case: Difference):
    assert case.google != case.rfc
    assert verdict(case.rules, case.agent, case.path) == case.rfc


def test_a_file_in_a_folder_that_is_named_like_an_index_is_allowed():
    assert verdict(INDEX, "FooBot", "/dir/index.html") == "allowed"
    assert verdict(INDEX, "FooBot", "/dir/index%2Ehtml/") == "allowed"


@pytest.mark.parametrize("name", ["Foo", "FooBotNews", "Bot", "x-FooBot", "FooBot-x"])
def test_a_group_of_a_name_that_is_only_like_ours_does_not_count(name: str):
    rules = f"user-agent: {name}\ndisallow: /\ncrawl-delay: 9\n"
    assert verdict(rules, "FooBot", "/x") == "allowed"
    assert read_robots(200, rules.encode()).crawl_delay_seconds("FooBot") == 0
