"""Tables of the gateway: access keys, sessions, failed logins, approvals and the audit log."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, moment, table, text, trace_id

access_keys = table(
    "access_keys",
    "One row per access key, without the key itself.",
    text("key_id", "Key ID: the middle part of op_<id>_<secret>", key=True),
    text("secret_hash", "SHA-256 of the secret part, hex", secret=True),
    text("role", "Role: viewer, operator or admin"),
    text("owner", "Person or machine that the key is for"),
    moment("created_at", "UTC time at which the key was created"),
    moment("expires_at", "UTC time from which the key is invalid"),
    moment(
        "last_used_at",
        "UTC time of the last use, at most a minute early; NULL: never used",
        optional=True,
    ),
    moment("revoked_at", "UTC time of the revocation; NULL: not revoked", optional=True),
    internal=True,
)

access_sessions = table(
    "access_sessions",
    "One row per login session.",
    text("session_hash", "SHA-256 of the session cookie's value, hex", key=True, secret=True),
    text(
        "user_name",
        "Owner of the key, or e-mail address or ID from the provider",
        from_senders=True,
    ),
    text("key_id", "Key ID of the login; NULL: login by OpenID Connect", optional=True),
    text(
        "claims", "Claims of the provider about the user, JSON; NULL: login by key", optional=True
    ),
    text("address", "IP address of the login"),
    moment("created_at", "UTC time of the login"),
    moment("seen_at", "UTC time of the last request, at most a minute early"),
    moment("expires_at", "UTC time at which the session expires"),
    moment("ended_at", "UTC time of the logout; NULL: no logout", optional=True),
    internal=True,
)

access_failures = table(
    "access_failures",
    "One row per key ID or address with recent failed logins.",
    text(
        "subject", "Subject: `key <id>`, or `address <IP address; for IPv6, its network>`", key=True
    ),
    count("failure_count", "Failed logins since first_failed_at"),
    moment("first_failed_at", "UTC time of the first failed login that is counted"),
    internal=True,
)

access_audit = table(
    "access_audit",
    "One row per login, refused request, and step of a mutation; rows are only added.",
    text(
        "request_id",
        "Request ID, the header X-Request-ID of the response",
        key=True,
        from_senders=True,
    ),
    count("step_number", "Step of the request: 1 (received) or 2 (answered)", key=True),
    moment("happened_at", "UTC time of the event"),
    text("user_name", "User of the request; NULL: unknown", optional=True, from_senders=True),
    text("role", "Role of the user at that time; NULL: unknown", optional=True),
    text(
        "key_id", "Key ID that was used or claimed; NULL: no key", optional=True, from_senders=True
    ),
    text("address", "IP address of the request"),
    text(
        "operation",
        "Operation: login, logout, a mutation's name, or method and path",
        from_senders=True,
    ),
    text(
        "target",
        "Target of the operation: names and IDs, JSON; NULL: no target",
        optional=True,
    ),
    text("outcome", "Outcome: asked (step 1), done, failed or refused"),
    text("reason", "Reason of the refusal or failure; NULL: no refusal or failure", optional=True),
    trace_id(),
    internal=True,
)

Index("access_audit_by_trace", access_audit.c.trace_id)

access_approvals = table(
    "access_approvals",
    "One row per request of an action that needs a second person, with its decision.",
    text("approval_id", "ID of the request, hex", key=True),
    text("action", "Action: erase, accept or grant", values=("erase", "accept", "grant")),
    text("parameters", "Exact parameters of the action, a JSON object"),
    text("sha256", "SHA-256 of action, parameters and reason, hex"),
    text("reason", "Reason of the action in words; empty: none was given"),
    text(
        "state",
        "State: unclaimed, requested, confirmed, refused or used",
        values=("unclaimed", "requested", "confirmed", "refused", "used"),
    ),
    text("requested_by", "User who requested it; NULL: not claimed", optional=True),
    moment("requested_at", "UTC time of the request"),
    moment("expires_at", "UTC time from which it is invalid"),
    text("decided_by", "User who confirmed or refused it; NULL: no decision", optional=True),
    moment("decided_at", "UTC time of the decision; NULL: no decision", optional=True),
    text("decision_reason", "Reason of a refusal; NULL: not refused", optional=True),
    text("used_by", "Run, backfill or erasure in which it took effect; NULL: none", optional=True),
    moment("used_at", "UTC time at which it took effect; NULL: it did not", optional=True),
    internal=True,
)

Index("access_approvals_by_sha256", access_approvals.c.sha256)
