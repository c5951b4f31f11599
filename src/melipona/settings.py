"""`mel.toml`: every setting of a hive, validated, with its default. Unknown keys are errors that suggest the right one.

Each zero is defined beside its setting. Durations are seconds, sizes are bytes, money is USD.
`docs/reference/mel-toml.md` is generated from these models.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from melipona.errors import Invalid

Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$", max_length=255)]
"""Scheme, host and port, as browsers tell it: no path, no wildcard."""


class Section(BaseModel):
    """Base of all tables: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class HiveSettings(Section):
    """`[hive]`: who you are and where the page listens."""

    name: str = Field(default="hive", description="Shown in the page's title and in `mel status`.")
    pronouns: str = Field(
        default="they/them", max_length=64, description="The operator's pronouns, told to agents (PR-1)."
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="Loopback port of the API; 0 picks a free one once and keeps it."
    )
    embed_origins: tuple[Origin, ...] = Field(
        default=(),
        description="Origins whose pages may show an agent's page in a frame, such as http://localhost:3000; of the "
        "same site as the hive, or nobody is logged in there.",
    )
    timezone: str = Field(
        default="", description="IANA name of the operator's time zone for days; empty uses the machine's."
    )


class MailSettings(Section):
    """`[mail]`: sizes, attempts, the breaker."""

    body_bytes: int = Field(default=1024, ge=64, le=65536, description="Longer bodies are stored as files (OP-1).")
    body_max_bytes: int = Field(default=1 << 20, ge=1024, le=8 << 20, description="Longer ones are refused.")
    attempts: int = Field(default=5, ge=1, le=100, description="Failures after which a message is parked.")
    backoff: tuple[Seconds, ...] = Field(
        default=(5, 30, 120, 600), description="Waits between the failures of a message."
    )
    receive_max: Seconds = Field(default=180, le=180, description="Longest wait of `receive` (BR-3).")
    thread_hops: Count = Field(
        default=32, description="Hops of a thread between agents before it stops; 0 = no limit (D-21)."
    )
    thread_per_minute: Count = Field(
        default=30, description="Messages a minute in a thread between agents; 0 = no limit."
    )
    sends_per_minute: Count = Field(default=60, description="Sends a minute of one agent; 0 = no limit.")
    broadcasts_per_minute: Count = Field(
        default=2, description="Broadcasts a minute of one agent; 0 = no limit (D-20)."
    )
    keep_days: Count = Field(default=30, description="Handled messages are deleted after this; 0 keeps them for ever.")


class TurnSettings(Section):
    """`[turns]`: limits of a turn."""

    cap: Count = Field(default=0, description="Turns that run at once; 0 = cores x 2.")
    total: Seconds = Field(default=7200, description="A turn's time in all; then it is interrupted; 0 = no limit.")
    silence: Seconds = Field(default=1200, description="Without engine output or a tool in flight; 0 = no limit.")
    interrupt_grace: Seconds = Field(default=30, description="From interrupt to kill.")
    adopt: Seconds = Field(default=30, description="How long a restarted daemon waits for a living box to dial in.")
    engine_idle: Seconds = Field(default=300, description="An idle engine is stopped after this.")
    kept_bytes: Count = Field(
        default=0,
        description="Memory of all boxes whose engines idle; past it those idle longest are stopped first; 0 = a "
        "quarter of the machine's.",
    )
    rate_limit: Seconds = Field(default=300, description="Pause after a rate limit that names no time.")
    log_bytes: Count = Field(default=50 << 20, description="Most of a turn's log that is kept.")
    output_bytes: Count = Field(
        default=512 << 20,
        description="An engine that writes more than this in one turn is ended (a line counts for at least 256 bytes); "
        "0 = no limit.",
    )
    log_days: Count = Field(default=30, description="Turn logs are deleted after this; 0 keeps them for ever.")


class BoxSettings(Section):
    """`[boxes]`: limits of a box (D-26 defaults). 0 = no limit, but for times."""

    driver: Literal["bubblewrap"] = Field(default="bubblewrap", description="What isolates the boxes.")
    idle: Seconds = Field(default=600, description="An idle box is stopped after this.")
    start: Seconds = Field(default=30, description="A box must answer within this.")
    stop_grace: Seconds = Field(default=5, description="From TERM to KILL when a box is stopped.")
    memory_bytes: Count = Field(default=4 << 30, description="Memory of one box with everything in it.")
    processes: Count = Field(default=512, description="Processes and threads of one box.")
    open_files: Count = Field(default=4096, description="Open files of one process.")
    file_size_bytes: Count = Field(default=2 << 30, description="Size of one file.")
    tmp_bytes: int = Field(
        default=512 << 20, ge=1 << 20, description="Size of `/tmp`, which lies in memory and counts to it."
    )
    disk_bytes: Count = Field(
        default=10 << 30, description="Disk use of an agent's folders; past it its turn and box end and it is stuck."
    )
    inodes: Count = Field(
        default=500_000, description="Files and folders of an agent; past it its turn and box end and it is stuck."
    )
    disk_sweep: Seconds = Field(default=30, gt=0, description="How often disk use of running boxes is measured.")
    orphan_busy: Seconds = Field(
        default=86400, gt=0, description="A box with a program ends itself without a daemon after this."
    )
    orphan_idle: Seconds = Field(default=900, gt=0, description="The same for a box without a program (D-3).")
    owner_uid: int = Field(
        default=64000, ge=1, description="Under a root daemon, uid of all that agents write on disk (D-6)."
    )
    uids: tuple[Count, Count] = Field(
        default=(64001, 65000),
        description="First and last of the uids of which each box of a root daemon gets one, where the file system of "
        "the data folder has idmapped mounts; `[0, 0]`, and where it has not: all run under `owner_uid`.",
    )


class BudgetSettings(Section):
    """`[budgets]`: 0 = no limit. A day is the operator's local day."""

    hive_usd_per_day: float = Field(
        default=20.0, ge=0, description="What all agents together may spend on models a day."
    )
    agent_usd_per_day: float = Field(default=0.0, ge=0, description="Default for agents without a budget of their own.")
    turns_per_hour: Count = Field(default=120, description="Turns an hour of one agent.")


class ModelSettings(Section):
    """`[models.anthropic]`: the upstream of model calls; the key never enters a box."""

    base_url: str = Field(default="", description="As the SDK means it (without /v1); empty uses ANTHROPIC_BASE_URL.")
    key_file: str = Field(default="", description="0600 file that holds the key; empty uses ANTHROPIC_API_KEY.")
    allowed: tuple[str, ...] = Field(
        default=("claude-*",), description="Models that agents may call, as shell patterns."
    )
    default: str = Field(default="", description="Model of agents that name none; empty leaves it to the engine.")
    betas: tuple[str, ...] = Field(default=(), description="More `anthropic-beta` values to let through.")
    fields: tuple[str, ...] = Field(default=(), description="More top-level request fields to let through.")
    server_tools: tuple[str, ...] = Field(
        default=(), description="Server tool types to let through (web_search_20250305, ...)."
    )
    prices_file: str = Field(default="", description="TOML that overrides the built-in price list.")


class ModelsSettings(Section):
    """`[models]`."""

    anthropic: ModelSettings = ModelSettings()


class GateSettings(Section):
    """`[gate]`: caps of one agent's box (SECURITY.md T34)."""

    connections: int = Field(default=16, ge=1, description="Connections of a box at once.")
    streams: int = Field(default=4, ge=1, description="Model calls of a box at once.")
    model_body_bytes: int = Field(default=32 << 20, ge=1024, description="Size of a request to a model.")
    tool_body_bytes: int = Field(default=2 << 20, ge=1024, description="Size of a tool call.")
    header_seconds: Seconds = Field(default=10, description="Within this a request's head must have come.")
    idle_seconds: Seconds = Field(default=60, description="A silent connection is closed after this.")
    stream_seconds: Seconds = Field(default=3600, description="A model call's longest time.")


class WatchSettings(Section):
    """`[watch]`: crashes and restarts (CW)."""

    every: Seconds = Field(default=10, gt=0, description="How often the watch looks at every box.")
    ping: Seconds = Field(
        default=20,
        description="A box that twice in a row does not answer within this is frozen, and ended; 0 = never asked.",
    )
    restarts: int = Field(default=5, ge=0, description="Crashes in a row after which the daemon gives up on an agent.")
    backoff: tuple[Seconds, ...] = Field(
        default=(1, 5, 30, 120), description="Waits before a crashed agent is started again."
    )


class EventSettings(Section):
    """`[events]`."""

    keep_days: Count = Field(default=0, description="Sealed events are deleted after this; 0 keeps them for ever.")


class StoreSettings(Section):
    """`[store]`: room on the disk (I-17)."""

    floor_percent: float = Field(
        default=5.0,
        ge=0,
        le=90,
        description="No new turn begins with less of the disk free, or less than `floor_bytes`, whichever is smaller; "
        "0 looks at the other alone.",
    )
    floor_bytes: Count = Field(default=2 << 30, description="See `floor_percent`; 0 looks at that alone.")
    ballast_bytes: Count = Field(
        default=64 << 20,
        description="Size of a file that is removed when the disk is full, so that the hive can still act; 0 = none.",
    )


class OidcSettings(Section):
    """`[access.oidc]`: logins by a provider (OpenID Connect). Without an issuer there are none."""

    issuer: str = Field(default="", description="The provider's address, exactly as it names itself.")
    client_id: str = Field(default="", description="What the provider calls this hive.")
    client_secret_file: str = Field(
        default="", description="0600 file that holds the secret; empty uses MELIPONA_OIDC_SECRET, else none is sent."
    )
    label: str = Field(default="Log in", min_length=1, max_length=40, description="What the login page's button says.")
    allow: tuple[str, ...] = Field(
        default=(),
        description="Who may come in at all: `name@example.org` or `@example.org` (addresses that the provider has "
        "verified), `sub:ID`; empty = whoever is linked to a person.",
    )
    newcomers: Literal["none", "viewer", "operator"] = Field(
        default="none", description="Role of whoever `allow` names and is nobody here yet; none refuses them."
    )


class AccessSettings(Section):
    """`[access]`: from where the hive can be reached."""

    host: str = Field(
        default="127.0.0.1",
        description="Address that the page and the API are bound to. Another than loopback needs a proxy with TLS and "
        "a passkey or provider to log in by.",
    )
    url: str = Field(
        default="",
        description="Where people find the hive: `https://hive.example.org`; empty: this machine.",
    )
    behind_proxy: bool = Field(
        default=False, description="A reverse proxy does TLS; what it says of whom it speaks for counts."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=("127.0.0.1", "::1"), description="Addresses or networks of that proxy; nobody else is believed."
    )

    oidc: OidcSettings = OidcSettings()

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            ipaddress.ip_network(value)
        return values

    @field_validator("url")
    @classmethod
    def _origin(cls, value: str) -> str:
        parts = urlsplit(value)
        whole = f"{parts.scheme}://{parts.netloc}"
        if value and (parts.scheme != "https" or value not in (whole, f"{whole}/") or "@" in parts.netloc):
            raise ValueError("give the scheme https and a name, and no path: https://hive.example.org")
        return whole.lower() if value else ""


class Settings(Section):
    """The whole of `mel.toml`."""

    hive: HiveSettings = HiveSettings()
    mail: MailSettings = MailSettings()
    turns: TurnSettings = TurnSettings()
    boxes: BoxSettings = BoxSettings()
    budgets: BudgetSettings = BudgetSettings()
    models: ModelsSettings = ModelsSettings()
    gate: GateSettings = GateSettings()
    access: AccessSettings = AccessSettings()
    watch: WatchSettings = WatchSettings()
    events: EventSettings = EventSettings()
    store: StoreSettings = StoreSettings()


def load_settings(path: Path | None) -> Settings:
    """The settings of the file at `path`; defaults without one.

    Raises:
        Invalid: every mistake in the file, with its key and, for an unknown key, the one that was probably meant.
    """
    if path is None:
        return Settings()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", remedy="check the path of --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is not valid TOML: {error}", remedy="mend the line it names") from error
    return parse_settings(data, str(path))


def parse_settings(data: dict[str, Any], source: str = "mel.toml") -> Settings:
    """`data` as settings.

    Raises:
        Invalid: with every mistake.
    """
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        lines = [_mistake(dict(mistake)) for mistake in error.errors()]
        raise Invalid(
            f"{source}: " + "; ".join(lines), remedy="see docs/reference/mel-toml.md for every key", code="bad_settings"
        ) from error


def with_host(settings: Settings, host: str | None) -> Settings:
    """`settings` with another address to be bound to.

    Raises:
        Invalid: it is no address.
    """
    if host is None:
        return settings
    return parse_settings({**settings.model_dump(), "access": settings.access.model_dump() | {"host": host}}, "--host")


def _mistake(error: dict[str, Any]) -> str:
    where = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(where)}: {error['msg']}"
    known = _keys_at(where[:-1])
    close = difflib.get_close_matches(where[-1], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"
    return f"{'.'.join(where)}: unknown key; {hint}"


def _keys_at(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return list(model.model_fields)
