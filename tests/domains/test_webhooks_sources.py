"""The declaration of webhook sources, and what is read of their deliveries."""

import hashlib

import pytest

from orchestration_project.engine.contracts.webhooks.admission import TokenBucket
from orchestration_project.engine.contracts.webhooks.schemes import SCHEMES
from orchestration_project.engine.contracts.webhooks.sources import (
    WebhookSource,
    derive_key,
    find_delivery_id,
    find_kind,
    name_secrets,
    read_sources,
    read_targets,
    select_headers,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import PROJECT_ROOT

GITHUB = WebhookSource(scheme="github")
SHIPPED = (PROJECT_ROOT / "config/webhooks.yaml").read_text()


def test_the_shipped_file_declares_no_source_and_its_examples_can_be_used():
    assert read_sources(SHIPPED) == {}
    below = SHIPPED.partition("sources: {}\n")[2]
    examples = "\n".join(line.removeprefix("#").removeprefix(" ") for line in below.splitlines())
    found = read_sources(examples)
    assert {name: value.scheme for name, value in found.items()} == {
        "github": "github",
        "billing": "stripe",
        "svix": "standard",
        "hr": "peopleforce",
        "peopleforce": "peopleforce",
        "jira": "jira",
    }
    assert found["github"].job == "events_webhooks"
    assert not found["billing"].in_order
    actions = [target["action"] for target in read_targets(examples).values()]
    assert actions == ["row", "http_request", "jira_issue", "run_job", "mqtt_event"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("sources: [", "line 1: invalid YAML: "),
        ("sources: {x: 2026-02-30}", "invalid YAML: day is out of range for month"),
        ("", "the file: expected a mapping, found nothing"),
        ("- github", "expected a mapping, found ['github']"),
        ("sources: {a: {}}", "sources.a.scheme: expected a value, found none"),
        (
            "sources:\n  a: {scheme: sha1}",
            "line 2: sources.a: expected scheme one of standard, github",
        ),
        ("sources: {a: {scheme: github, sekret: x}}", "sources.a.sekret: unknown name"),
        ("source: {}", "line 1: sources: expected a value, found none"),
        ("sources: {A: {scheme: github}}", "'A': expected a-z, 0-9 and _"),
        ("sources: {../x: {scheme: github}}", "'../x': expected a-z"),
        ("sources: {git_old: {scheme: github}}", "'git_old': expected a-z"),
        ("sources: {a: {scheme: github}, a: {scheme: jira}}", "a stands there twice"),
        (
            "sources: {a: {scheme: github, max_attempts: 0}}",
            "expected a number greater than or equal to 1, found 0",
        ),
        (
            "sources: {a: {scheme: github, requests_per_second: '9'}}",
            "expected an integer, found '9'",
        ),
        ("sources: {a: {scheme: jira, delivery_id: {}}}", "expected either a header or a field"),
        (
            "sources: {a: {scheme: github, timestamp_header: X-Time}}",
            "expected no timestamp_header, as scheme github has no such header, found 'X-Time'",
        ),
        (
            "sources: {a: {scheme: stripe, id_header: X-Id}}",
            "expected no id_header, as scheme stripe has no such header, found 'X-Id'",
        ),
        (
            "sources: {a: {scheme: jira, signature_header: 'A: b'}}",
            "expected text to match pattern",
        ),
    ],
)
def test_a_declaration_that_says_anything_unclear_is_refused(content, problem):
    with pytest.raises(ConfigurationError, match="invalid webhook sources") as refused:
        read_sources(content)
    assert problem in str(refused.value.found)


def test_a_source_has_a_variable_for_its_secret_and_one_for_that_before():
    assert name_secrets("my_git") == ("WEBHOOK_SECRET_MY_GIT", "WEBHOOK_SECRET_MY_GIT_OLD")


def test_a_secret_that_could_be_guessed_is_refused_without_quoting_it():
    assert derive_key("git", GITHUB, "sixteen letters!") == b"sixteen letters!"
    with pytest.raises(ConfigurationError, match="the webhook source git") as refused:
        derive_key("git", GITHUB, "fifteen letters")
    assert refused.value.found == "15 bytes"
    with pytest.raises(ConfigurationError) as refused:
        derive_key("x", WebhookSource(scheme="standard"), "no base64 at all!")
    assert "no base64 at all" not in str(refused.value)
    assert refused.value.__cause__ is None


DIGEST = f"sha256:{hashlib.sha256(b'[]').hexdigest()}"


@pytest.mark.parametrize(
    ("declared", "headers", "body", "found"),
    [
        ({"scheme": "github"}, {"x-github-delivery": "72d3-11"}, b"[]", "72d3-11"),
        ({"scheme": "github"}, {}, b"[]", DIGEST),
        ({"scheme": "github"}, {"x-github-delivery": "a b"}, b"[]", None),
        ({"scheme": "github"}, {"x-github-delivery": "a\n"}, b"[]", None),
        ({"scheme": "github"}, {"x-github-delivery": "é"}, b"[]", None),
        ({"scheme": "github"}, {"x-github-delivery": ""}, b"[]", None),
        ({"scheme": "github"}, {"x-github-delivery": "x" * 201}, b"[]", None),
        ({"scheme": "peopleforce"}, {}, b"[]", DIGEST),
        ({"scheme": "stripe"}, {}, b'{"id": "evt_1"}', "evt_1"),
        ({"scheme": "stripe"}, {}, b'{"id": 17}', "17"),
        ({"scheme": "stripe"}, {}, b"[]", DIGEST),
        ({"scheme": "jira", "delivery_id": {"header": "X-Id"}}, {"x-id": "7"}, b"[]", "7"),
        ({"scheme": "jira", "delivery_id": {"field": "a.b"}}, {}, b'{"a": {"b": "c"}}', "c"),
    ],
)
def test_a_delivery_has_the_senders_id_or_its_digest_and_no_id_that_is_not_plain(
    declared, headers, body, found
):
    assert find_delivery_id(WebhookSource.model_validate(declared), headers, body) == found


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"id": true}', b'{"id": {}}']
)
def test_a_body_that_has_no_id_to_read_goes_by_its_digest(body):
    digest = hashlib.sha256(body).hexdigest()
    assert find_delivery_id(WebhookSource(scheme="stripe"), {}, body) == f"sha256:{digest}"


def test_the_kind_is_the_senders_word_if_it_is_a_plain_one():
    assert find_kind(GITHUB, {"x-github-event": "issues"}, b"") == "issues"
    assert find_kind(GITHUB, {"x-github-event": "two words"}, b"") is None
    jira = WebhookSource(scheme="jira")
    assert find_kind(jira, {}, b'{"webhookEvent": "jira:issue_updated"}') == "jira:issue_updated"
    assert find_kind(jira, {}, b"{}") is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_signature_cookie_or_credential_is_kept(scheme):
    secrets = {scheme.signature: "secret" for scheme in SCHEMES.values()}
    secrets |= {"authorization": "secret", "cookie": "secret", "x-api-key": "secret"}
    kept = {"content-type": "application/json", "user-agent": "GitHub-Hookshot/1"}
    assert select_headers(WebhookSource(scheme=scheme), secrets | kept) == kept


def test_the_header_that_has_the_id_is_kept():
    declared = WebhookSource.model_validate({"scheme": "jira", "delivery_id": {"header": "X-Id"}})
    assert select_headers(declared, {"x-id": "7"}) == {"x-id": "7"}


def test_a_bucket_lets_its_rate_through_and_says_how_long_the_next_one_waits():
    bucket = TokenBucket(2)
    assert [bucket.wait_seconds(10.0) for _ in range(3)] == [0, 0, 0.5]
    assert bucket.wait_seconds(10.25) == 0.25
    assert [bucket.wait_seconds(10.5) for _ in range(2)] == [0, 0.5]
    assert [bucket.wait_seconds(99.0) for _ in range(3)] == [0, 0, 0.5]
