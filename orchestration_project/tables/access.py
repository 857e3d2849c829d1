"""Who may come through the gateway, and what those who did asked for."""

from orchestration_project.tables.schema import count, moment, table, text

access_keys = table(
    "access_keys",
    "One row per key that was made; the key itself is not kept.",
    text("key_id", "The part between the underscores of op_<id>_<secret>", key=True),
    text("secret_hash", "SHA-256 of the secret part, hex", secret=True),
    text("role", "viewer, operator or admin"),
    text("owner", "Person or machine that it was made for"),
    moment("created_at", "UTC time"),
    moment("expires_at", "UTC time from which it opens nothing"),
    moment("last_used_at", "UTC time, at most a minute early; NULL: never", optional=True),
    moment("revoked_at", "UTC time; NULL where it was not", optional=True),
    internal=True,
)

access_sessions = table(
    "access_sessions",
    "One row per login: a session that its cookie leads to until it ends.",
    text("session_hash", "SHA-256 of what the cookie holds, hex", key=True, secret=True),
    text(
        "user_name",
        "Owner of the key, or the e-mail address or id that the provider gave",
        from_senders=True,
    ),
    text("key_id", "The key that was given; NULL: OpenID Connect", optional=True),
    text("claims", "What the provider said of the user, JSON; NULL: by key", optional=True),
    text("address", "IP address that logged in"),
    moment("created_at", "UTC time of the login"),
    moment("seen_at", "UTC time of the last request, at most a minute early"),
    moment("expires_at", "UTC time after which it ends in any case"),
    moment("ended_at", "UTC time of the logout; NULL where there was none", optional=True),
    internal=True,
)

access_failures = table(
    "access_failures",
    "One row per key id or address whose logins failed lately.",
    text("subject", "`key <id>`, or `address <IP address, of IPv6 its network>`", key=True),
    count("failure_count", "Failed logins since first_failed_at"),
    moment("first_failed_at", "UTC time of the first that counts"),
    internal=True,
)

access_audit = table(
    "access_audit",
    "One row per login, refusal, and step of a mutation; rows are only added.",
    text(
        "request_id",
        "The request, as X-Request-ID of the answer names it",
        key=True,
        from_senders=True,
    ),
    count("step_number", "1 when it was asked for, 2 when it was answered", key=True),
    moment("happened_at", "UTC time"),
    text("user_name", "Who asked; NULL: not known", optional=True, from_senders=True),
    text("role", "Their role then; NULL: not known", optional=True),
    text(
        "key_id", "The key that was used, or claimed; NULL: none", optional=True, from_senders=True
    ),
    text("address", "IP address that asked"),
    text("operation", "login, logout, a mutation's name, or method and path", from_senders=True),
    text(
        "target",
        "What it was about: names and ids, JSON; NULL: nothing",
        optional=True,
    ),
    text("outcome", "asked, done, failed or refused"),
    text("reason", "Why it was refused or how it failed; NULL: all is well", optional=True),
    internal=True,
)
