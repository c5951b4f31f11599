"""Every table, once, for SQLite and PostgreSQL.

Conventions: times are UTC microseconds in `*_at` columns (`Micros`); ids are text (UUIDv7) where public, integers where
people type them; booleans are 0 or 1; JSON is text; money is whole micro-USD. Every row that has a state or waits has
`entered_at` (since when in this state) and `wake_at` (when a loop must look again, null = waits for an event or a
person). `host` and `generation` fence what another daemon could hold (D-41).

Message states are small integers because partial indexes over literals need them (PERFORMANCE.md section 11, rule 16).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.ext.compiler import compiles

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


@compiles(BigInteger, "sqlite")
def _sqlite_integer(*_: object, **__: object) -> str:
    """STRICT tables know no BIGINT; their INTEGER has 64 bits."""
    return "INTEGER"


def _table(name: str, *columns: Column[Any] | Index, autoincrement: bool = False) -> Table:
    return Table(name, metadata, *columns, sqlite_strict=True, sqlite_autoincrement=autoincrement)


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that `where` (with literals only: rule 16) selects, on both engines."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


def _int(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=null, server_default=None if default is None else text(str(default)))


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


meta = _table("meta", Column("key", Text, primary_key=True), _text("value"))
"""Facts about the store itself: `store_id` (new at creation and at each restore, D-33), `created_at`, `api_port`."""

epochs = _table(
    "epochs",
    Column("id", Integer, primary_key=True),
    _text("host"),
    _int("pid"),
    _int("started_at"),
    _int("ended_at", null=True),
    _text("ended_why", null=True),  # down | stopped | unclean (written by the next daemon)
    _partial("ix_epochs_unclean", "id", where="ended_why = 'unclean'"),
    autoincrement=True,
)
"""One row for each life of a daemon. A lease or operation of an older epoch belongs to a daemon that is gone (D-16)."""

integrity_checks = _table(
    "integrity_checks",
    Column("id", Integer, primary_key=True),
    _int("at"),
    _text("why"),  # unclean_end | weekly
    _text("result"),  # ok | damaged | cut (it took too long)
    _text("problem", null=True),
    _int("duration_ms"),
    _int("bytes"),
    autoincrement=True,
)
"""What `PRAGMA quick_check` found, after an unclean end and weekly."""

events = _table(
    "events",
    Column("id", Integer, primary_key=True),
    _int("at"),
    _text("kind"),
    _text("agent", null=True),
    _text("subject", null=True),
    _text("principal"),
    _text("request_id", null=True),
    _text("data"),
    _text("person", null=True),
    _text("via", null=True),
    _partial("ix_events_agent", "agent", "id", where="agent IS NOT NULL"),
    autoincrement=True,
)
"""Append-only (a trigger refuses UPDATE and unsealed DELETE): audit log, outbox and live stream in one.

`person` is the name of the person on whose request it was written, `via` how they came in: `socket`, `session <id>`,
`token <id>`. Both are null for what no person asked for.
"""

event_seals = _table(
    "event_seals",
    Column("last", Integer, primary_key=True),
    _int("first"),
    _int("count"),
    _int("sealed_at"),
    _text("hash"),
    _int("pruned", default=0),
)
"""Hash chain over runs of events (D-32): `hash = H(previous hash, canonical rows)`. `pruned` = its rows are gone."""

agents = _table(
    "agents",
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("role"),  # worker | manager
    _text("engine"),
    _text("model", null=True),
    _text("playbook", null=True),
    _text("wish"),  # running | stopped | destroyed | purged
    _int("paused_at", null=True),
    _text("paused_by", null=True),
    _int("held_at", null=True),  # after an interrupt: its given-back mail wakes nobody until the operator acts (D-18)
    _text("status_text", null=True),
    _int("status_at", null=True),
    _text("session", null=True),  # the engine's session id
    _text("send_allow", null=True),  # JSON list of names, null = everybody
    _int("budget_micro_usd", default=0),  # a day; 0 = no limit
    _int("turns_per_hour", default=-1),  # -1 = the hive's default; 0 = no limit
    _text("trouble", null=True),  # reason code of D-37 that is a fact of the agent: no_key, crashed, gave_up, ...
    _text("trouble_detail", null=True),
    _int("crashes", default=0),  # since it last ended a good turn
    _text("host", null=True),
    _int("generation", default=0),
    _int("has_run", default=0),
    _int("created_at"),
    _int("entered_at"),
    _int("wake_at", null=True),
    _partial("uq_agents_name", "name", where="wish <> 'purged'", unique=True),
    _partial("uq_agents_manager", "role", where="role = 'manager' AND wish IN ('running', 'stopped')", unique=True),
    _partial("ix_agents_wake_at", "wake_at", where="wake_at IS NOT NULL"),
)
"""The registry. A destroyed agent whose files are kept is a tombstone; a purged one only holds its history's place."""

operations = _table(
    "operations",
    Column("id", Text, primary_key=True),
    _text("kind"),  # starting | stopping | restarting | destroying | purging | ...
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=True),
    _text("state"),  # running | done | failed | lost
    _text("detail", null=True),
    _text("error", null=True),
    _text("principal"),
    _int("epoch"),
    _text("host"),
    _int("generation", default=0),
    _int("started_at"),
    _int("entered_at"),
    _int("wake_at", null=True),
    _partial("uq_operations_running", "agent_id", where="state = 'running'", unique=True),
)
"""What is in flight, and which daemon's life holds it (TG, I-8)."""

boxes = _table(
    "boxes",
    Column("id", Text, primary_key=True),
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=False),
    _text("driver"),
    _text("state"),  # starting | up | stopping | gone
    _text("handle", null=True),  # the driver's own JSON
    _text("ended_why", null=True),  # idle | stopped | crashed | ...
    _text("host"),
    _int("generation", default=0),
    _int("created_at"),
    _int("entered_at"),
    _int("wake_at", null=True),  # idle stop
    _partial("uq_boxes_live", "agent_id", where="state <> 'gone'", unique=True),
)

programs = _table(
    "programs",
    Column("id", Text, primary_key=True),
    Column("box_id", Text, ForeignKey("boxes.id"), nullable=False),
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=False),
    _text("kind"),  # engine
    _text("state"),  # wanted | running | ended
    _int("next_seq", default=1),
    _text("detail", null=True),  # JSON: what the driver needs to know it again (model, session asked for)
    _int("started_at"),
    _int("entered_at"),
    _int("wake_at", null=True),
    _partial("uq_programs_live", "box_id", "kind", where="state <> 'ended'", unique=True),
)
"""An engine process in a box, as long as the box knows it."""

outbox = _table(
    "outbox",
    Column("program_id", Text, ForeignKey("programs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _text("line"),
    _int("at"),
)
"""Every line that goes to an engine, written in the transaction that decided it (D-44)."""

turns = _table(
    "turns",
    Column("id", Integer, primary_key=True),
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=False),
    _text("agent"),
    _text("state"),  # running | waiting | ended
    _text("cause"),  # JSON: what woke it: {"kind": "mail", "messages": [12], "from": ["ben"]}
    _text("result", null=True),  # ok | failed | too_long | interrupted | lost | rate_limited | ...
    _text("reason", null=True),  # stable code under the result
    _text("note", null=True),
    _text("interrupt_by", null=True),
    _int("epoch"),
    _text("host"),
    _int("generation", default=0),
    _text("program_id", null=True),
    _int("prompt_seq", null=True),  # outbox sequence number of the prompt
    _text("log_path", null=True),
    _text("model", null=True),
    _text("wake_source"),
    _int("started_at"),
    _int("ended_at", null=True),
    _int("entered_at"),
    _int("wake_at", null=True),
    _int("duration_ms", null=True),
    _int("input_tokens", null=True),
    _int("output_tokens", null=True),
    _int("cache_read_tokens", null=True),
    _int("cache_creation_tokens", null=True),
    _int("context_tokens", null=True),
    _int("context_window", null=True),
    _int("cost_micro_usd", null=True),
    _int("tool_calls", null=True),
    _text("tools", null=True),  # JSON {tool: count}
    _int("open_threads", null=True),
    _int("open_reminders", null=True),
    _int("compacted", default=0),
    _partial("uq_turns_open", "agent_id", where="state <> 'ended'", unique=True),
    _partial("ix_turns_running", "state", where="state = 'running'"),
    Index("ix_turns_agent", "agent_id", "id"),
    _partial("ix_turns_causeless", "id", where="cause = '{}'"),
    autoincrement=True,
)
"""One row a turn, statistics included (TS-2); at most one open turn an agent (I-7)."""

WAITING, LEASED, HANDLED, PARKED = 0, 1, 2, 3
"""Message states as stored."""

messages = _table(
    "messages",
    Column("id", Integer, primary_key=True),
    _text("sender"),
    _text("recipient"),
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=True),  # the recipient, null = the operator
    _text("body"),  # at most the cap; of a long body its first lines
    _text("body_path", null=True),  # as the recipient sees it: /agents/<name>/inbox/12.md
    _int("body_bytes"),
    _text("kind"),  # mail | broadcast | kick | notice
    _int("state", default=0),
    _int("wake", default=1),
    _int("attempts", default=0),
    _int("failures", default=0),
    _int("maybe_seen", default=0),
    _int("turn", null=True),  # the turn that leases it, or handled it
    _int("generation", default=0),
    _int("thread", null=True),  # id of the thread's first message
    _int("reply_to", null=True),
    _int("hop", default=0),
    _text("origin"),  # JSON: provenance chain, e.g. ["operator", "ana"]
    _text("broadcast_id", null=True),
    _text("send_key", null=True),
    _text("last_error", null=True),
    _int("sent_at"),
    _int("entered_at"),
    _int("wake_at", null=True),  # not before (back-off); null = now
    _partial("ix_messages_waiting", "agent_id", "id", where="state = 0"),
    _partial("ix_messages_leased", "turn", where="state = 1"),
    _partial("ix_messages_parked", "id", where="state = 3"),
    Index("ix_messages_recipient", "recipient", "id"),
    Index("ix_messages_sender", "sender", "id"),
    _partial("ix_messages_thread", "thread", "id", where="thread IS NOT NULL"),
    _partial("ix_messages_wake_at", "wake_at", where="state = 0 AND wake_at IS NOT NULL"),
    _partial("uq_messages_send_key", "sender", "send_key", "recipient", where="send_key IS NOT NULL", unique=True),
    autoincrement=True,
)

calls = _table(
    "calls",
    Column("key", Text, primary_key=True),
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=False),
    _text("tool"),
    _text("answer"),
    _int("turn", null=True),
    _int("epoch"),
    _int("at"),
    Index("ix_calls_at", "at"),
)
"""Answers of effects, so that a repeated call has one effect (D-23)."""

spend = _table(
    "spend",
    Column("id", Integer, primary_key=True),
    Column("agent_id", Text, ForeignKey("agents.id"), nullable=False),
    _int("turn", null=True),
    _text("day"),  # the operator's local day, 2026-11-21
    _text("model"),
    _text("state"),  # reserved | settled | released
    _int("reserved_micro_usd"),
    _int("cost_micro_usd", default=0),
    _int("input_tokens", default=0),
    _int("output_tokens", default=0),
    _int("cache_read_tokens", default=0),
    _int("cache_creation_tokens", default=0),
    _int("estimated", default=0),  # settled in full because the true usage never came
    _int("status", null=True),  # the upstream's HTTP status
    _int("epoch"),
    _int("at"),
    _int("entered_at"),
    _int("wake_at", null=True),
    Index("ix_spend_day", "day", "agent_id"),
    _partial("ix_spend_turn", "turn", where="turn IS NOT NULL"),
    _partial("ix_spend_reserved", "epoch", where="state = 'reserved'"),
    autoincrement=True,
)
"""One row a model call: reserved before, settled after from the upstream's own usage (D-30)."""

people = _table(
    "people",
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("role"),  # viewer | operator | admin
    _int("is_owner", default=0),
    _int("created_at"),
    _int("disabled_at", null=True),
    Index("uq_people_name", "name", unique=True),
    _partial("uq_people_owner", "is_owner", where="is_owner = 1", unique=True),
)
"""Who may come in, and what as. A person's row stays for good: events name them. The owner is there from the start."""

identities = _table(
    "identities",
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    _text("issuer"),
    _text("subject", null=True),  # null until they first came by a verified address
    _text("email", null=True),
    _int("created_at"),
    _int("seen_at", null=True),
    _partial("uq_identities_subject", "issuer", "subject", where="subject IS NOT NULL", unique=True),
    _partial("uq_identities_email", "issuer", "email", where="email IS NOT NULL", unique=True),
)
"""Which account at an OpenID provider is whose."""

passkeys = _table(
    "passkeys",
    Column("credential_id", Text, primary_key=True),  # base64url
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    _text("public_key"),  # base64url of the COSE key
    _int("sign_count", default=0),
    _text("transports"),  # JSON list
    _text("label"),
    _text("rp_id"),
    _int("created_at"),
    _int("last_used_at", null=True),
    _int("revoked_at", null=True),
    Index("ix_passkeys_person_id", "person_id"),
)

recovery_codes = _table(
    "recovery_codes",
    Column("code_hash", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    _int("created_at"),
    _int("used_at", null=True),
    Index("ix_recovery_codes_person_id", "person_id"),
)

api_tokens = _table(
    "api_tokens",
    Column("id", Text, primary_key=True),
    _text("secret_hash"),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    _text("name"),
    _text("scopes"),  # JSON list of read | act | approve
    _int("created_at"),
    _int("ends_at"),
    _int("last_used_at", null=True),
    _text("last_address", null=True),
    _int("revoked_at", null=True),
    Index("ix_api_tokens_person_id", "person_id"),
)

sessions = _table(
    "sessions",
    Column("id_hash", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    _text("method"),  # link | passkey | oidc | recovery
    _text("user_agent"),
    _text("address", null=True),  # of the browser at login; null = not known
    _int("outside", default=0),  # it came from elsewhere than this machine
    _int("created_at"),
    _int("seen_at"),
    _int("ends_at"),
    _int("idle_ends_at"),
    _int("verified_at", null=True),  # the last assertion with user verification (step-up)
    _int("revoked_at", null=True),
    _text("provider_subject", null=True),  # the account that opened it; it is ended when the provider says so
    _text("provider_session", null=True),  # the provider's name of that login, if it has one
    Index("ix_sessions_person_id", "person_id"),
    Index("ix_sessions_provider_subject", "provider_subject"),
)

login_links = _table(
    "login_links",
    Column("token_hash", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    _int("outside", default=0),  # good from elsewhere than this machine too
    _int("created_at"),
    _int("ends_at"),
    _int("used_at", null=True),
)

login_challenges = _table(
    "login_challenges",
    Column("id_hash", Text, primary_key=True),
    _text("kind"),  # what it is for: a passkey's registration or assertion, an OpenID login
    _text("bound_to"),  # SHA-256 of the pre-session cookie, or the id of the session
    Column("person_id", Text, ForeignKey("people.id"), nullable=True),
    _text("data"),  # JSON
    _int("created_at"),
    _int("ends_at"),
    _int("used_at", null=True),
    Index("ix_login_challenges_ends_at", "ends_at"),
)
"""What a login under way must bring back, once."""

TRIGGERS = {
    "events_no_update": (
        "CREATE TRIGGER events_no_update BEFORE UPDATE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
    ),
    "events_sealed_delete": (
        "CREATE TRIGGER events_sealed_delete BEFORE DELETE ON events WHEN NOT EXISTS ("
        "SELECT 1 FROM event_seals s WHERE s.pruned = 1 AND OLD.id BETWEEN s.first AND s.last) "
        "BEGIN SELECT RAISE(ABORT, 'only whole sealed prefixes of events may go'); END"
    ),
}
"""SQLite's triggers; PostgreSQL's equals come with its engine."""
