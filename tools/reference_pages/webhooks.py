"""The page of webhooks: what a source of webhooks.yaml may hold, and how each scheme signs."""

from orchestration_project.engine.contracts.webhooks.schemes import SCHEMES, Place
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from tools.reference_pages.markdown import code, page, section, table
from tools.reference_pages.models import fields_table

STATUSES = {
    202: "stored",
    200: "stored before, with the same body",
    400: "malformed id, or the connection ended within the body",
    401: "no signature",
    403: "invalid signature, or its time differs by more than five minutes",
    404: "unknown source",
    408: "the body took longer than 10 seconds",
    409: "known id with another body; recorded in `audits`",
    413: "body above `WEBHOOK_MAX_BODY_MIB`",
    415: "not JSON, or compressed",
    429: "above the rate of its source, with `Retry-After`",
    503: "retry later: inbox, memory or disk full, database down, or secret missing",
}
STATES = {
    "received": "ready for a run",
    "running": "claimed by a run",
    "failed": "waits for its next attempt: after one minute, then after five minutes each",
    "done": "loaded or rejected, or its source has no job",
    "dead": "no further attempts",
}
SIGNED = {
    "standard": "`v1,<base64>` over id, `webhook-timestamp` and body",
    "github": "`sha256=<hex>` over the body",
    "jira": "`sha256=<hex>` over the body",
    "peopleforce": "`sha256=<hex>` over the body",
    "stripe": "`t=<time>,v1=<hex>` over time and body",
}
"""The HMAC-SHA-256 in the header of each scheme."""


COPIES_TEXT = """`operations_clean_up` removes all copies of a body together. Days count from the
latest change of the delivery and of its routed actions:

- `WEBHOOK_BODY_DAYS`: deliveries that are `done`, and whose actions are done as well
- `WEBHOOK_DEAD_BODY_DAYS`: deliveries that are `dead`, or have a dead action

By default no body is removed. One that is `received`, `running` or `failed`, or has a waiting
action, is never removed. A replay of a removed body is refused."""

COPIES = (
    ("`inbox.body`", "NULL; ID and digest stay, so that a repeated delivery is a duplicate"),
    ("`events_webhooks.payload`, also of its history", "NULL"),
    (
        "stored bytes, if no other delivery or source needs them",
        "deleted, see `operations_removals`",
    ),
    ("`rejects.record` and `rejects.reason`", "empty, and why"),
    ("`events_routed.fields` and `events_routed.progress`", "`{}` and NULL"),
    ("row of `work_items`", "stays; a dead one has the reason `body_removed`"),
    (
        "`events_routed_rows`, other targets of rules, exports, archives of evidence, backups, "
        "copies of the artifact store",
        "stay",
    ),
)
"""Places with bytes of a delivery, and what a removal leaves there."""


def write() -> str:
    """Return the page."""
    schemes = [
        (
            code(name),
            f"{code(each.signature)}: {SIGNED[name]}",
            _place(each.delivery_id) or "SHA-256 of the body",
            _place(each.kind),
        )
        for name, each in SCHEMES.items()
    ]
    states = [(code(state), meaning) for state, meaning in STATES.items()]
    return page(
        "webhooks",
        [
            section("Fields of a source", fields_table(WebhookSource)),
            section("Schemes", table(("scheme", "signature", "delivery id", "kind"), schemes)),
            section("Answers to the sender", table(("status", "meaning"), STATUSES.items())),
            section("States of a delivery", table(("state", "meaning"), states)),
            section("Copies of a body", COPIES_TEXT, table(("copy", "after removal"), COPIES)),
        ],
    )


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    return f"header {code(place.header)}" if place.header else f"field {code('.'.join(place.path))}"
