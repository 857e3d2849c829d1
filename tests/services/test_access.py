"""Roles, keys, lockout, members and addresses: the rules, without anything around them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.addresses import (
    choose_next_path,
    is_log_key,
    is_plain_path,
    is_same_origin,
    parse_host,
    parse_origin,
)
from orchestration_project.engine.contracts.roles import (
    REQUIRES_ADMIN,
    Role,
    build_admin_tags,
    list_permissions,
    may_call,
    may_run,
    redact_for_role,
    select_kind_tags,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.access.rules.credentials import (
    KEY_LIMIT,
    NO_HASH,
    WINDOW,
    Failures,
    Key,
    add_failure,
    build_key,
    derive_network,
    find_lock_end,
    hash_of,
    is_valid_secret,
    list_subjects,
    read_key,
)
from orchestration_project.services.access.rules.members import (
    AccessRule,
    Member,
    check_hosted_domain,
    decide_role,
    is_google,
    parse_member,
    read_rules,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_each_role_may_do_all_that_the_one_before_may():
    viewer, operator, admin = (list_permissions(role) for role in Role)
    assert viewer < operator < admin
    assert [Role.OPERATOR.covers(role) for role in Role] == [True, True, False]


def test_what_declares_that_it_requires_an_admin_is_run_by_an_admin_alone():
    harmless: dict[str, str] = {"domain": "finra"}
    for role in (Role.VIEWER, Role.OPERATOR):
        assert may_run(role, [harmless, {}])
        assert not may_run(role, [harmless, REQUIRES_ADMIN])
        assert not may_run(role, [{"requires_admin": "false"}])
    assert may_run(Role.ADMIN, [harmless, REQUIRES_ADMIN])


@pytest.mark.parametrize(
    ("config", "is_for_operators"),
    [({"list": {}}, True), ({"delete": {}}, False), ({}, False), ({"list": {}, "x": {}}, False)],
)
def test_a_kind_that_requires_an_admin_is_run_by_an_admin_alone(config, is_for_operators):
    tags = build_admin_tags(["delete", "prune"])
    assert may_run(Role.OPERATOR, [select_kind_tags(tags, config)]) is is_for_operators
    assert may_run(Role.ADMIN, [select_kind_tags(tags, config)])
    assert may_run(Role.OPERATOR, [select_kind_tags(build_admin_tags([]), config)])


def test_what_cannot_be_resolved_is_run_by_an_admin_alone():
    assert not may_run(Role.OPERATOR, [{}, None])
    assert may_run(Role.ADMIN, [None])


def test_an_unknown_mutation_is_refused_to_every_role():
    assert [may_call(role, "launchRun") for role in Role] == [False, True, True]
    assert [may_call(role, "wipeAssets") for role in Role] == [False, False, True]
    assert [may_call(role, "newMutation") for role in Role] == [False, False, False]


QUOTED = """it failed: x

Stack Trace:
  File "a.py", line 1, in f
    g()
  File "b.py", line 2, in g
    raise

The above exception was caused by the following exception:
ValueError: y

Stack Trace:
  File "c.py", line 3, in h
    i()
"""


def test_a_message_is_shown_without_the_stacks_that_it_quotes_unless_an_admin_reads_it():
    shown = redact_for_role(Role.OPERATOR, QUOTED)
    assert "File" not in shown
    assert "raise" not in shown
    assert [line for line in shown.splitlines() if line] == [
        "it failed: x",
        "The above exception was caused by the following exception:",
        "ValueError: y",
    ]
    assert redact_for_role(Role.ADMIN, QUOTED) == QUOTED
    python = 'a\nTraceback (most recent call last):\n  File "a.py", line 1\n    b\nValueError: c'
    assert redact_for_role(Role.VIEWER, python) == "a\nValueError: c"
    assert redact_for_role(Role.VIEWER, "no stack\n  of any kind") == "no stack\n  of any kind"


def test_a_key_has_an_id_and_256_bits():
    key = build_key(b"\0\1\2\3\4\xff", b"\xff" * 32)
    assert str(key) == "op_0001020304ff_" + "_" * 42 + "8"
    assert read_key(str(key)) == key
    with pytest.raises(ValueError, match="random bytes"):
        build_key(b"", b"")


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=32, max_size=32))
def test_every_key_is_read_as_it_was_written(key_id: bytes, secret: bytes):
    key = build_key(key_id, secret)
    assert read_key(str(key)) == key
    assert is_valid_secret(hash_of(key.secret), key.secret)


@pytest.mark.slow
@given(st.text())
def test_text_that_is_no_key_is_none_and_matches_nothing(text: str):
    assert read_key(text) is None
    assert not is_valid_secret(None, text)
    assert not is_valid_secret(NO_HASH, text)


def test_a_key_is_read_whole_or_not():
    text = "op_0123456789ab_" + "A" * 43
    assert read_key(text) == Key("0123456789ab", "A" * 43)
    for wrong in (text + "\n", " " + text, text[:-1], text + "A", text.replace("b", "B")):
        assert read_key(wrong) is None


def test_failures_count_within_their_window_and_lock_until_its_end():
    failures = add_failure(None, NOON)
    for minutes in range(1, KEY_LIMIT):
        assert find_lock_end("key x", failures, NOON) is None
        failures = add_failure(failures, NOON + timedelta(minutes=minutes))
    assert failures == Failures(KEY_LIMIT, NOON)
    assert find_lock_end("key x", failures, NOON + WINDOW / 2) == NOON + WINDOW
    assert find_lock_end("address x", failures, NOON) is None
    assert find_lock_end("key x", failures, NOON + WINDOW) is None
    assert add_failure(failures, NOON + WINDOW) == Failures(1, NOON + WINDOW)


def test_a_lock_of_before_the_clock_was_set_back_holds_no_longer_than_another():
    failures = Failures(KEY_LIMIT, NOON + timedelta(days=365))
    assert find_lock_end("key x", failures, NOON) is None
    assert add_failure(failures, NOON) == Failures(1, NOON)
    ahead = Failures(KEY_LIMIT, NOON + timedelta(minutes=1))  # by another gateway's clock
    assert find_lock_end("key x", ahead, NOON) == NOON + timedelta(minutes=1) + WINDOW
    assert add_failure(ahead, NOON) == Failures(KEY_LIMIT + 1, ahead.since)


def test_a_failure_counts_for_the_address_and_for_the_key_that_was_named():
    assert list_subjects(None, "10.0.0.1") == ["address 10.0.0.1"]
    assert list_subjects("ab", "2001:db8::1") == ["address 2001:db8::/64", "key ab"]
    assert derive_network("unknown") == "unknown"


RULES = read_rules(["admin=Me@example.org", "operator=group:data team", "viewer=@Example.org"])


@pytest.mark.parametrize(
    ("member", "role"),
    [
        (Member("1", "me@example.org"), Role.ADMIN),
        (Member("1", "you@example.org"), Role.VIEWER),
        (Member("1", "you@example.org", ["data team", "x"]), Role.OPERATOR),
        (Member("1", "", ["data team"]), Role.OPERATOR),
        (Member("1", "you@evil.example.org"), None),
        (Member("1", "me@example.org.evil"), None),
        (Member("1", "a@b@example.org"), Role.VIEWER),
        (Member("me@example.org"), None),
        (Member("1"), None),
    ],
)
def test_the_highest_role_that_fits_holds(member: Member, role: Role | None):
    assert decide_role(member, RULES, []) == role


def test_a_domain_that_is_not_allowed_has_no_role_whatever_the_rules_say():
    anybody = read_rules(["viewer=*"])
    assert decide_role(Member("1", "a@b.org"), anybody, []) is Role.VIEWER
    assert decide_role(Member("1", "a@b.org"), anybody, ["b.org"]) is Role.VIEWER
    assert decide_role(Member("1", "a@c.org"), anybody, ["b.org"]) is None
    assert decide_role(Member("1", ""), anybody, ["b.org"]) is None


def test_a_person_without_a_rule_has_no_role():
    assert decide_role(Member("1", "me@example.org"), read_rules([]), []) is None


NO_RULES = ("admin", "boss=*", "admin=me", "admin=", "viewer=group:", "=*")
SPACES = ("admin=me@example.org viewer=@example.org", "operator=group:data team viewer=*")


@pytest.mark.parametrize("text", [*NO_RULES, *SPACES])
def test_a_rule_that_is_none_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="invalid OIDC_ROLES entry"):
        read_rules([text])


def test_an_address_that_the_provider_did_not_verify_counts_for_nothing():
    claims = {"sub": "7", "email": "Me@Example.org", "groups": ["a", 1]}
    assert parse_member(claims) == Member("7", "", ["a", "1"])
    assert parse_member(claims | {"email_verified": False}).email == ""
    assert parse_member(claims | {"email_verified": True}).email == "me@example.org"
    assert parse_member({"sub": 7, "groups": "one"}) == Member("7", "", ["one"])
    assert parse_member({"sub": "7", "groups": {"a": 1}}).name == "7"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Door.example.org:443", "door.example.org"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:3000", "::1"),
        ("", ""),
        ("a b", ""),
        ("a/b", ""),
        ("a@b", ""),
        ("a:b", ""),
        ("a:1:2", ""),
        ("é", ""),
        ("::1", ""),
    ],
)
def test_a_host_has_a_name_or_is_none(host: str, name: str):
    assert parse_host(host) == name


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/runs?view=a~b", "/runs?view=a~b"),
        ("/", "/"),
        ("", "/"),
        ("runs", "/"),
        ("//evil.example.org", "/"),
        ("/\\evil.example.org", "/"),
        ("/\t/evil.example.org", "/"),
        ("/ /evil.example.org", "/"),
        ("/runs\x7f", "/"),
        ("https://evil.example.org/", "/"),
        ("/login?next=/runs", "/"),
        ("/auth/callback", "/"),
    ],
)
def test_a_login_leads_to_a_path_of_this_site_that_is_no_login(wanted: str, led_to: str):
    assert choose_next_path(wanted) == led_to


@given(st.text(alphabet="/.%\\?#@:ab \t\r\n\0é", max_size=12))
def test_wherever_a_login_leads_is_a_path_of_this_site(wanted: str):
    led_to = choose_next_path(wanted)
    assert led_to[0] == "/"
    assert led_to[1:2] not in ("/", "\\")
    assert led_to.isascii()
    assert led_to.isprintable()


@given(st.lists(st.sampled_from(["", ".", "..", "a", "\\", "b c", "\n", "..."])))
def test_a_plain_path_has_no_part_that_another_reader_would_take_away(parts: list[str]):
    path = "/" + "/".join(parts)
    odd = {"", ".", "..", "\\", "\n"}
    is_plain = not odd & set(parts[:-1]) and (not parts or parts[-1] not in odd - {""})
    assert is_plain_path(path) == is_plain


@pytest.mark.parametrize(
    ("parts", "is_key"),
    [
        ([], False),
        (["run", "compute_logs", "step.err"], True),
        (["a"] * 16, True),
        (["a"] * 17, False),
        (["é" * 100], True),
        (["é" * 100 + "a"], False),
        (["a", "..", "b"], False),
        (["."], False),
        ([""], False),
        (["a/b"], False),
        (["a\nb"], False),
    ],
)
def test_a_key_of_a_log_has_names_of_folders_and_a_file(parts: list[str], is_key: bool):
    assert is_log_key(parts) == is_key


def test_an_origin_is_that_of_one_page_of_ours():
    own = {parse_origin("https://Door.example.org/x?y")}
    assert own == {"https://door.example.org"}
    assert is_same_origin(["https://DOOR.example.org"], own, is_needed=True)
    assert is_same_origin([], own, is_needed=False)
    assert not is_same_origin([], own, is_needed=True)
    assert not is_same_origin(["https://door.example.org:8443"], own, is_needed=False)
    assert not is_same_origin(["http://door.example.org"], own, is_needed=False)
    assert not is_same_origin(["https://door.example.org"] * 2, own, is_needed=False)
    assert not is_same_origin([], own, is_needed=False, fetch_site="cross-site")
    assert is_same_origin(
        ["https://door.example.org"], own, is_needed=True, fetch_site="same-origin"
    )
    assert parse_origin("no url") == ""


def test_the_claim_hd_counts_by_default_only_of_googles_issuer():
    assert is_google("https://accounts.google.com")
    assert not is_google("https://accounts.google.com.example.org")


def test_an_address_of_a_configured_domain_needs_the_claim_hd_with_it():
    rules = [AccessRule(Role.ADMIN, "@Example.org"), AccessRule(Role.VIEWER, "me@private.org")]
    claims = {"email": "ada@EXAMPLE.org", "hd": "Example.org"}
    assert check_hosted_domain(claims, rules, []) is None
    wanting = "invalid claim hd: expected example.org, found none"
    assert check_hosted_domain({"email": "ada@example.org"}, rules, []) == wanting
    assert check_hosted_domain({"email": "me@private.org"}, rules, []) is None
    assert check_hosted_domain({"email": "me@private.org"}, rules, ["private.org"])
