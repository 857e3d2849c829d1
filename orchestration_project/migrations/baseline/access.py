"""Tables of keys, sessions, refused logins and approvals."""

from orchestration_project.migrations.frozen import Column, Index, Table

# fmt: off
ACCESS = [
    Table("access_keys", "One row per access key, without the key itself.", [
        Column("key_id", "text", "Key ID: the middle part of op_<id>_<secret>", key=True),
        Column("secret_hash", "text", "SHA-256 of the secret part, hex"),
        Column("role", "text", "Role: viewer, operator or admin"),
        Column("owner", "text", "Person or machine that the key is for"),
        Column("created_at", "timestamp", "UTC time at which the key was created"),
        Column("expires_at", "timestamp", "UTC time from which the key is invalid"),
        Column("last_used_at", "timestamp", "UTC time of the last use, at most a minute early; NULL: never used", optional=True),
        Column("revoked_at", "timestamp", "UTC time of the revocation; NULL: not revoked", optional=True),
    ]),
    Table("access_sessions", "One row per login session.", [
        Column("session_hash", "text", "SHA-256 of the session cookie's value, hex", key=True),
        Column("user_name", "text", "Owner of the key, or e-mail address or ID from the provider"),
        Column("key_id", "text", "Key ID of the login; NULL: login by OpenID Connect", optional=True),
        Column("claims", "text", "Claims of the provider about the user, JSON; NULL: login by key", optional=True),
        Column("address", "text", "IP address of the login"),
        Column("created_at", "timestamp", "UTC time of the login"),
        Column("seen_at", "timestamp", "UTC time of the last request, at most a minute early"),
        Column("expires_at", "timestamp", "UTC time at which the session expires"),
        Column("ended_at", "timestamp", "UTC time of the logout; NULL: no logout", optional=True),
    ]),
    Table("access_failures", "One row per key ID or address with recent failed logins.", [
        Column("subject", "text", "Subject: `key <id>`, or `address <IP address; for IPv6, its network>`", key=True),
        Column("failure_count", "bigint", "Failed logins since first_failed_at"),
        Column("first_failed_at", "timestamp", "UTC time of the first failed login that is counted"),
    ]),
    Table("access_audit", "One row per login, refused request, and step of a mutation; rows are only added.", [
        Column("request_id", "text", "Request ID, the header X-Request-ID of the response", key=True),
        Column("step_number", "bigint", "Step of the request: 1 (received) or 2 (answered)", key=True),
        Column("happened_at", "timestamp", "UTC time of the event"),
        Column("user_name", "text", "User of the request; NULL: unknown", optional=True),
        Column("role", "text", "Role of the user at that time; NULL: unknown", optional=True),
        Column("key_id", "text", "Key ID that was used or claimed; NULL: no key", optional=True),
        Column("address", "text", "IP address of the request"),
        Column("operation", "text", "Operation: login, logout, a mutation's name, or method and path"),
        Column("target", "text", "Target of the operation: names and IDs, JSON; NULL: no target", optional=True),
        Column("outcome", "text", "Outcome: asked (step 1), done, failed or refused"),
        Column("reason", "text", "Reason of the refusal or failure; NULL: no refusal or failure", optional=True),
        Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True),
    ], indexes=[Index("access_audit_by_trace", ["trace_id"])]),
    Table("access_approvals", "One row per request of an action that needs a second person, with its decision.", [
        Column("approval_id", "text", "ID of the request, hex", key=True),
        Column("action", "text", "Action: erase, accept or grant"),
        Column("parameters", "text", "Exact parameters of the action, a JSON object"),
        Column("sha256", "text", "SHA-256 of action, parameters and reason, hex"),
        Column("reason", "text", "Reason of the action in words; empty: none was given"),
        Column("state", "text", "State: unclaimed, requested, confirmed, refused or used"),
        Column("requested_by", "text", "User who requested it; NULL: not claimed", optional=True),
        Column("requested_at", "timestamp", "UTC time of the request"),
        Column("expires_at", "timestamp", "UTC time from which it is invalid"),
        Column("decided_by", "text", "User who confirmed or refused it; NULL: no decision", optional=True),
        Column("decided_at", "timestamp", "UTC time of the decision; NULL: no decision", optional=True),
        Column("decision_reason", "text", "Reason of a refusal; NULL: not refused", optional=True),
        Column("used_by", "text", "Run, backfill or erasure in which it took effect; NULL: none", optional=True),
        Column("used_at", "timestamp", "UTC time at which it took effect; NULL: it did not", optional=True),
    ], indexes=[Index("access_approvals_by_sha256", ["sha256"])]),
]
