"""How deliveries are signed: the senders' published examples, and what must not pass as signed."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from orchestration_project.engine.contracts.webhooks.schemes import (
    SCHEMES,
    Verdict,
    build_standard_headers,
    decode_headers,
    verify,
)
from orchestration_project.engine.contracts.webhooks.sources import (
    WebhookSource,
    find_delivery_id,
    select_headers,
)

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
SECRET, OTHER = b"It's a Secret to Everybody", b"Another one, not yet in use"
BODY = b'{"a": "\xc3\xa9"}'


def judged(scheme: str, headers: dict[str, str], body: bytes, *keys: bytes, at=NOW) -> Verdict:
    return verify(SCHEMES[scheme], headers, body, keys or (SECRET,), now=at)


def mac(body: bytes, key: bytes = SECRET, algorithm=hashlib.sha256) -> str:
    return hmac.new(key, body, algorithm).hexdigest()


@pytest.mark.parametrize(
    ("scheme", "header", "key", "body", "signature"),
    [
        (  # docs.github.com, "Validating webhook deliveries"
            "github",
            "x-hub-signature-256",
            SECRET,
            b"Hello, World!",
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        (  # developer.atlassian.com, "Webhooks", testing the implementation
            "jira",
            "x-hub-signature",
            SECRET,
            b"Hello World!",
            "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
        ),
        (  # PeopleForce publishes none: RFC 4231, test case 2
            "peopleforce",
            "x-peopleforce-signature",
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ],
)
def test_the_published_example_of_a_scheme_over_the_body_is_valid(
    scheme, header, key, body, signature
):
    assert judged(scheme, {header: f"sha256={signature}"}, body, key) == "valid"
    assert judged(scheme, {header: f"sha256={signature}"}, body + b" ", key) == "invalid"


STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)


def standard(at: datetime = SIGNED_AT, body: bytes = STANDARD_BODY, **changes: str) -> Verdict:
    headers = STANDARD | {f"webhook-{name}": value for name, value in changes.items()}
    key = SCHEMES["standard"].key(STANDARD_SECRET)
    return judged("standard", headers, body, key, at=at)


def test_the_published_example_of_standard_webhooks_is_valid():
    assert standard() == "valid"


@pytest.mark.parametrize("change", [{"id": "msg_other"}, {"timestamp": "1614265331"}])
def test_standard_webhooks_sign_id_and_time_as_well(change):
    assert standard(**change) == "invalid"


def test_without_the_header_of_an_id_an_empty_one_is_signed():
    key = SCHEMES["standard"].key(STANDARD_SECRET)
    signed = build_standard_headers(key, "", STANDARD_BODY, now=SIGNED_AT)
    headers = {name: text for name, text in signed.items() if name != "webhook-id"}
    assert judged("standard", headers, STANDARD_BODY, key, at=SIGNED_AT) == "valid"


def test_what_the_library_of_standard_webhooks_signs_is_valid_with_any_of_several_signatures():
    signature = Webhook(STANDARD_SECRET).sign("a", SIGNED_AT, BODY.decode())
    wrong = "v1," + base64.b64encode(b"0" * 32).decode()
    several = f"v1a,abc {wrong} {signature}"
    assert standard(id="a", body=BODY, signature=several) == "valid"
    assert standard(id="a", body=BODY, signature=f"v1a,abc {wrong}") == "invalid"


def test_what_is_signed_here_has_the_signature_of_the_published_example():
    key = SCHEMES["standard"].key(STANDARD_SECRET)
    found = build_standard_headers(key, STANDARD["webhook-id"], STANDARD_BODY, now=SIGNED_AT)
    assert found == STANDARD


def test_a_right_signature_of_another_version_is_none():
    signature = STANDARD["webhook-signature"].removeprefix("v1,")
    assert standard(signature=f"v1,{signature}") == "valid"
    for version in ("v1a", "v2", "V1", ""):
        assert standard(signature=f"{version},{signature}") == "invalid"
    assert stripe(f"t={SECONDS},v0={SIGNED}") == "invalid"


@pytest.mark.parametrize("padding", ["", "="])
def test_a_standard_secret_may_lack_its_prefix_and_its_padding(padding):
    key = SCHEMES["standard"].key
    assert key(f"c2VjcmV0MQ={padding}") == key("whsec_c2VjcmV0MQ") == b"secret1"


def test_a_standard_secret_that_is_no_base64_is_refused_without_quoting_it():
    with pytest.raises(ValueError, match="no Base64") as refused:
        SCHEMES["standard"].key("whsec_not/base64!")
    assert "not/base64" not in str(refused.value)


def stripe(header: str, *, at: datetime = NOW) -> Verdict:
    return judged("stripe", {"stripe-signature": header}, BODY, at=at)


SIGNED = mac(f"{SECONDS}.".encode() + BODY)


def test_a_timestamped_signature_is_over_time_and_body():
    assert stripe(f"t={SECONDS},v1={SIGNED}") == "valid"
    assert stripe(f"t={SECONDS},v1={'0' * 64},v1={SIGNED},v0=x") == "valid"
    assert stripe(f"t={SECONDS},v1={mac(BODY)}") == "invalid"
    assert stripe(f"t={int(SECONDS) + 1},v1={SIGNED}") == "invalid"


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_signature_of_five_minutes_ago_counts_and_an_older_or_later_one_does_not(minutes):
    at = NOW + timedelta(minutes=minutes)
    beyond = timedelta(seconds=1 if minutes > 0 else -1)
    assert stripe(f"t={SECONDS},v1={SIGNED}", at=at) == "valid"
    assert stripe(f"t={SECONDS},v1={SIGNED}", at=at + beyond) == "stale"
    assert standard(SIGNED_AT + timedelta(minutes=minutes)) == "valid"
    assert standard(SIGNED_AT + timedelta(minutes=minutes) + beyond) == "stale"


@pytest.mark.parametrize("time", ["", "1e9", "-1", " 1", "١٧٧٢٤٦٣٦٠٠", "9" * 12, "1_772_463_600"])
def test_a_time_that_is_no_plain_number_is_no_time_even_when_it_is_signed(time):
    encoded = time.encode().decode("latin-1")
    signature = mac(f"{encoded}.".encode("latin-1") + BODY)
    assert stripe(f"t={encoded},v1={signature}") == "stale"


def test_two_times_are_no_time():
    assert stripe(f"t={SECONDS},t={SECONDS},v1={SIGNED}") == "invalid"


OF_ANOTHER_ALGORITHM = [
    f"sha1={mac(BODY, algorithm=hashlib.sha1)}",
    f"sha512={mac(BODY, algorithm=hashlib.sha512)}",
    f"sha256={mac(BODY, algorithm=hashlib.sha1)}",
    f"sha256={hashlib.sha256(BODY).hexdigest()}",  # an unknown secret
    f"md5={mac(BODY)}",
    f"SHA256={mac(BODY)}",
    f"none={mac(BODY)}",
    mac(BODY),
    f"={mac(BODY)}",
    "sha256=",
    "none",
]


@pytest.mark.parametrize("value", OF_ANOTHER_ALGORITHM)
@pytest.mark.parametrize("scheme", ["github", "jira", "peopleforce"])
def test_no_other_algorithm_counts_whatever_the_header_calls_it(scheme, value):
    assert judged(scheme, {SCHEMES[scheme].signature: value}, BODY) == "invalid"


@pytest.mark.parametrize("value", ["sha256=é", "sha256=\x00", "sha256=\u0660" * 64, "é", "\ud800"])
def test_a_signature_that_is_not_ascii_is_wrong_and_no_error(value):
    assert judged("github", {"x-hub-signature-256": value}, BODY) == "invalid"
    assert stripe(f"t={SECONDS},v1={value}") == "invalid"
    assert standard(signature=f"v1,{value}") == "invalid"
    assert standard(id=value) == "invalid"


@pytest.mark.parametrize(
    "change", [str.upper, lambda x: f" {x}", lambda x: f"{x} ", lambda x: x[:-1]]
)
def test_a_signature_is_taken_letter_by_letter(change):
    good = mac(BODY)
    assert judged("github", {"x-hub-signature-256": f"sha256={change(good)}"}, BODY) == "invalid"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_delivery_without_its_schemes_header_is_unsigned(scheme):
    everything = {scheme.signature: "x" for name, scheme in SCHEMES.items()}
    del everything[SCHEMES[scheme].signature]
    assert judged(scheme, everything, BODY) == "unsigned"
    assert judged(scheme, {SCHEMES[scheme].signature: ""}, BODY) == "unsigned"


def test_two_secrets_are_valid_at_once_and_no_third_one():
    for key in (SECRET, OTHER):
        headers = {"x-hub-signature-256": f"sha256={mac(BODY, key)}"}
        assert judged("github", headers, BODY, SECRET, OTHER) == "valid"
    headers = {"x-hub-signature-256": f"sha256={mac(BODY, b'a third one')}"}
    assert judged("github", headers, BODY, SECRET, OTHER) == "invalid"


def test_without_any_key_nothing_is_valid():
    headers = {"x-hub-signature-256": f"sha256={mac(BODY, b'')}"}
    assert verify(SCHEMES["github"], headers, BODY, [], now=NOW) == "invalid"


def test_a_source_may_have_its_signature_in_another_header():
    headers = {"billing-signature": f"t={SECONDS},v1={SIGNED}"}
    billing = WebhookSource(scheme="stripe", signature_header="Billing-Signature").signing
    assert verify(billing, headers, BODY, [SECRET], now=NOW) == "valid"
    assert judged("stripe", headers, BODY) == "unsigned"


def test_a_source_may_name_the_signed_id_and_time_as_svix_does():
    source = WebhookSource(
        scheme="standard",
        signature_header="Svix-Signature",
        id_header="Svix-Id",
        timestamp_header="Svix-Timestamp",
    )
    headers = {name.replace("webhook", "svix"): value for name, value in STANDARD.items()}
    key = SCHEMES["standard"].key(STANDARD_SECRET)
    assert verify(source.signing, headers, STANDARD_BODY, [key], now=SIGNED_AT) == "valid"
    for name in ("svix-id", "svix-timestamp"):
        changed = headers | {name: "1614265331"}
        assert verify(source.signing, changed, STANDARD_BODY, [key], now=SIGNED_AT) == "invalid"
    assert find_delivery_id(source, headers, STANDARD_BODY) == STANDARD["webhook-id"]
    assert select_headers(source, headers) == {
        "svix-id": STANDARD["webhook-id"],
        "svix-timestamp": STANDARD["webhook-timestamp"],
    }


def test_headers_have_lower_case_names_and_one_that_came_twice_is_none():
    raw = [(b"X-A", b"1"), (b"x-b", b"2"), (b"X-B", b"3"), (b"x-c", b"\xe9")]
    assert decode_headers(raw) == {"x-a": "1", "x-c": "é"}
