"""Tables of the gateway and of webhook deliveries, as of version 0022."""

from orchestration_project.migrations.frozen import Column, Table

# fmt: off
ACCESS = [
    Table("access_keys", "One row per key that was made; the key itself is not kept.", [
        Column("key_id", "text", "The part between the underscores of op_<id>_<secret>", key=True),
        Column("secret_hash", "text", "SHA-256 of the secret part, hex"),
        Column("role", "text", "viewer, operator or admin"),
        Column("owner", "text", "Person or machine that it was made for"),
        Column("created_at", "timestamp", "UTC time"),
        Column("expires_at", "timestamp", "UTC time from which it opens nothing"),
        Column("last_used_at", "timestamp", "UTC time, at most a minute early; NULL: never", optional=True),
        Column("revoked_at", "timestamp", "UTC time; NULL where it was not", optional=True),
    ]),
    Table("access_sessions", "One row per login: a session that its cookie leads to until it ends.", [
        Column("session_hash", "text", "SHA-256 of what the cookie holds, hex", key=True),
        Column("user_name", "text", "Owner of the key, or the e-mail address or id that the provider gave"),
        Column("key_id", "text", "The key that was given; NULL: OpenID Connect", optional=True),
        Column("claims", "text", "What the provider said of the user, JSON; NULL: by key", optional=True),
        Column("address", "text", "IP address that logged in"),
        Column("created_at", "timestamp", "UTC time of the login"),
        Column("seen_at", "timestamp", "UTC time of the last request, at most a minute early"),
        Column("expires_at", "timestamp", "UTC time after which it ends in any case"),
        Column("ended_at", "timestamp", "UTC time of the logout; NULL where there was none", optional=True),
    ]),
    Table("access_failures", "One row per key id or address whose logins failed lately.", [
        Column("subject", "text", "`key <id>`, or `address <IP address, of IPv6 its network>`", key=True),
        Column("failure_count", "bigint", "Failed logins since first_failed_at"),
        Column("first_failed_at", "timestamp", "UTC time of the first that counts"),
    ]),
    Table("access_audit", "One row per login, refusal, and step of a mutation; rows are only added.", [
        Column("request_id", "text", "The request, as X-Request-ID of the answer names it", key=True),
        Column("step_number", "bigint", "1 when it was asked for, 2 when it was answered", key=True),
        Column("happened_at", "timestamp", "UTC time"),
        Column("user_name", "text", "Who asked; NULL: not known", optional=True),
        Column("role", "text", "Their role then; NULL: not known", optional=True),
        Column("key_id", "text", "The key that was used, or claimed; NULL: none", optional=True),
        Column("address", "text", "IP address that asked"),
        Column("operation", "text", "login, logout, a mutation's name, or method and path"),
        Column("target", "text", "What it was about: names and ids, JSON; NULL: nothing", optional=True),
        Column("outcome", "text", "asked, done, failed or refused"),
        Column("reason", "text", "Why it was refused or how it failed; NULL: all is well", optional=True),
    ]),
]


# fmt: off
WEBHOOKS = [
    Table("events_webhooks", "One row per webhook delivery whose body is a JSON object.", [
        Column("source", "text", "The source's name in webhooks.yaml", key=True),
        Column("delivery_id", "text", "The sender's id; without one sha256: and the body's digest", key=True),
        Column("received_at", "timestamp", "UTC time at which it came"),
        Column("kind", "text", "What happened, in the sender's word; NULL where it has none", optional=True),
        Column("payload", "text", "The JSON object, letter by letter as it came"),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row"),
    ]),
    Table("events_webhooks_history", "One row per earlier state of a row of events_webhooks: true from known_from to known_to.", [
        Column("source", "text", "The source's name in webhooks.yaml", key=True),
        Column("delivery_id", "text", "The sender's id; without one sha256: and the body's digest", key=True),
        Column("received_at", "timestamp", "UTC time at which it came"),
        Column("kind", "text", "What happened, in the sender's word; NULL where it has none", optional=True),
        Column("payload", "text", "The JSON object, letter by letter as it came"),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed"),
        Column("change_cause", "text", "Why: source (values), metadata (only its dates), ours (our rules)"),
        Column("rule_version", "text", "Version of our rules that made the row that followed"),
    ]),
]
