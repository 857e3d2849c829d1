"""Who may come through the gateway, and what those who did asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _create_keys()
    _create_sessions()
    op.create_table(
        "access_failures",
        _text("subject", "`key <id>`, or `address <IP address, of IPv6 its network>`"),
        _number("failure_count", "Failed logins since first_failed_at"),
        _moment("first_failed_at", "UTC time of the first that counts"),
        sa.PrimaryKeyConstraint("subject"),
        comment="One row per key id or address whose logins failed lately.",
        sqlite_with_rowid=False,
    )
    _create_audit()


def _create_keys() -> None:
    op.create_table(
        "access_keys",
        _text("key_id", "The part between the underscores of op_<id>_<secret>"),
        _text("secret_hash", "SHA-256 of the secret part, hex"),
        _text("role", "viewer, operator or admin"),
        _text("owner", "Person or machine that it was made for"),
        _moment("created_at", "UTC time"),
        _moment("expires_at", "UTC time from which it opens nothing"),
        _moment("last_used_at", "UTC time, at most a minute early; NULL: never", optional=True),
        _moment("revoked_at", "UTC time; NULL where it was not", optional=True),
        sa.PrimaryKeyConstraint("key_id"),
        comment="One row per key that was made; the key itself is not kept.",
        sqlite_with_rowid=False,
    )


def _create_sessions() -> None:
    op.create_table(
        "access_sessions",
        _text("session_hash", "SHA-256 of what the cookie holds, hex"),
        _text("user_name", "Owner of the key, or the e-mail address or id that the provider gave"),
        _text("key_id", "The key that was given; NULL: OpenID Connect", optional=True),
        _text("claims", "What the provider said of the user, JSON; NULL: by key", optional=True),
        _text("address", "IP address that logged in"),
        _moment("created_at", "UTC time of the login"),
        _moment("seen_at", "UTC time of the last request, at most a minute early"),
        _moment("expires_at", "UTC time after which it ends in any case"),
        _moment("ended_at", "UTC time of the logout; NULL where there was none", optional=True),
        sa.PrimaryKeyConstraint("session_hash"),
        comment="One row per login: a session that its cookie leads to until it ends.",
        sqlite_with_rowid=False,
    )


def _create_audit() -> None:
    op.create_table(
        "access_audit",
        _text("request_id", "The request, as X-Request-ID of the answer names it"),
        _number("step_number", "1 when it was asked for, 2 when it was answered"),
        _moment("happened_at", "UTC time"),
        _text("user_name", "Who asked; NULL: not known", optional=True),
        _text("role", "Their role then; NULL: not known", optional=True),
        _text("key_id", "The key that was used, or claimed; NULL: none", optional=True),
        _text("address", "IP address that asked"),
        _text("operation", "login, logout, a mutation's name, or method and path"),
        _text(
            "target",
            "What it was about: names and ids, JSON; NULL: nothing",
            optional=True,
        ),
        _text("outcome", "asked, done, failed or refused"),
        _text("reason", "Why it was refused or how it failed; NULL: all is well", optional=True),
        sa.PrimaryKeyConstraint("request_id", "step_number"),
        comment="One row per login, refusal, and step of a mutation; rows are only added.",
        sqlite_with_rowid=False,
    )


def _text(name: str, comment: str, *, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=optional, comment=comment)


def _number(name: str, comment: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False, comment=comment)


def _moment(name: str, comment: str, *, optional: bool = False) -> sa.Column[object]:
    return sa.Column(name, MOMENT, nullable=optional, comment=comment)


def downgrade() -> None:
    """Drop them."""
    for name in ("access_audit", "access_failures", "access_sessions", "access_keys"):
        op.drop_table(name)
