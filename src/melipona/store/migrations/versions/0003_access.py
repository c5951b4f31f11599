"""People with roles, how they come in, tokens of programs; every event says which person asked for it.

The hive gets its owner. Sessions that there are become the owner's, because links were made by nobody else; links, which
live ten minutes, go.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from melipona.clock import SystemClock
from melipona.ids import new_id

revision = "0003"
down_revision = "0002"

OWNER = "owner"


def upgrade() -> None:
    """Nothing that was there is lost but links."""
    op.add_column("events", sa.Column("person", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("via", sa.Text(), nullable=True))
    _people()
    owner = new_id()
    op.execute(
        sa.text(
            "INSERT INTO people (id, name, role, is_owner, created_at) VALUES (:id, :name, 'admin', 1, :at)"
        ).bindparams(id=owner, name=OWNER, at=SystemClock().now())
    )
    _identities()
    _keys()
    _tokens()
    _sessions(owner)
    op.drop_table("login_links")
    _links()


def _people() -> None:
    op.create_table(
        "people",
        _text("id"),
        _text("name"),
        _text("role"),
        _int("is_owner", default="0"),
        _int("created_at"),
        _int("disabled_at", null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sqlite_strict=True,
    )
    op.create_index("uq_people_name", "people", ["name"], unique=True)
    _partial("uq_people_owner", "people", ["is_owner"], "is_owner = 1")


def _identities() -> None:
    op.create_table(
        "identities",
        _text("id"),
        _text("person_id"),
        _text("issuer"),
        _text("subject", null=True),
        _text("email", null=True),
        _int("created_at"),
        _int("seen_at", null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        _of_person("identities"),
        sqlite_strict=True,
    )
    _partial("uq_identities_subject", "identities", ["issuer", "subject"], "subject IS NOT NULL")
    _partial("uq_identities_email", "identities", ["issuer", "email"], "email IS NOT NULL")


def _keys() -> None:
    op.create_table(
        "passkeys",
        _text("credential_id"),
        _text("person_id"),
        _text("public_key"),
        _int("sign_count", default="0"),
        _text("transports"),
        _text("label"),
        _text("rp_id"),
        _int("created_at"),
        _int("last_used_at", null=True),
        _int("revoked_at", null=True),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_passkeys")),
        _of_person("passkeys"),
        sqlite_strict=True,
    )
    op.create_index("ix_passkeys_person_id", "passkeys", ["person_id"])
    op.create_table(
        "recovery_codes",
        _text("code_hash"),
        _text("person_id"),
        _int("created_at"),
        _int("used_at", null=True),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_recovery_codes")),
        _of_person("recovery_codes"),
        sqlite_strict=True,
    )
    op.create_index("ix_recovery_codes_person_id", "recovery_codes", ["person_id"])


def _tokens() -> None:
    op.create_table(
        "api_tokens",
        _text("id"),
        _text("secret_hash"),
        _text("person_id"),
        _text("name"),
        _text("scopes"),
        _int("created_at"),
        _int("ends_at"),
        _int("last_used_at", null=True),
        _text("last_address", null=True),
        _int("revoked_at", null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        _of_person("api_tokens"),
        sqlite_strict=True,
    )
    op.create_index("ix_api_tokens_person_id", "api_tokens", ["person_id"])


def _sessions(owner: str) -> None:
    """Made anew: SQLite adds no column that refers to another table and may not be null."""
    op.rename_table("sessions", "sessions_before")
    op.create_table(
        "sessions",
        _text("id_hash"),
        _text("person_id"),
        _text("method"),
        _text("user_agent"),
        _text("address", null=True),
        _int("outside", default="0"),
        _int("created_at"),
        _int("seen_at"),
        _int("ends_at"),
        _int("idle_ends_at"),
        _int("verified_at", null=True),
        _int("revoked_at", null=True),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_sessions")),
        _of_person("sessions"),
        sqlite_strict=True,
    )
    op.execute(
        sa.text(
            "INSERT INTO sessions (id_hash, method, user_agent, created_at, seen_at, ends_at, idle_ends_at, revoked_at,"
            " person_id, outside) SELECT id_hash, method, user_agent, created_at, seen_at, ends_at, idle_ends_at,"
            " revoked_at, :owner, 0 FROM sessions_before"
        ).bindparams(owner=owner)
    )
    op.drop_table("sessions_before")
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"])


def _links() -> None:
    op.create_table(
        "login_links",
        _text("token_hash"),
        _text("person_id"),
        _int("outside", default="0"),
        _int("created_at"),
        _int("ends_at"),
        _int("used_at", null=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_links")),
        _of_person("login_links"),
        sqlite_strict=True,
    )
    op.create_table(
        "login_challenges",
        _text("id_hash"),
        _text("kind"),
        _text("bound_to"),
        _text("person_id", null=True),
        _text("data"),
        _int("created_at"),
        _int("ends_at"),
        _int("used_at", null=True),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_login_challenges")),
        _of_person("login_challenges"),
        sqlite_strict=True,
    )
    op.create_index("ix_login_challenges_ends_at", "login_challenges", ["ends_at"])


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _int(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[int]:
    given = None if default is None else sa.text(default)
    return sa.Column(name, sa.BigInteger(), nullable=null, server_default=given)


def _of_person(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f(f"fk_{table}_person_id"))


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
