"""Every exception of Melipona, in three families.

    MeliponaError
    ├── AskedWrongly            the caller can mend it
    │   ├── Invalid               a value is not acceptable
    │   ├── NotFound              no such thing
    │   ├── Refused               policy says no
    │   ├── Conflict              the present state does not allow it
    │   │   └── IllegalTransition   a state cannot follow another
    │   └── LimitReached          a quota or budget is spent
    ├── WorldFailed             disk, network, kernel or a program let us down
    │   ├── StoreError            the database
    │   │   ├── StoreFull           no space left
    │   │   ├── StoreUnusable       locked, corrupt, read-only, newer than the program, network file system
    │   │   └── OutcomeUnknown      an I/O error at commit: it may or may not have happened
    │   ├── BoxError              a box
    │   │   ├── BoxStartFailed      it never came up
    │   │   ├── BoxLost             cannot be told whether it runs, or it is gone
    │   │   └── BoxProtocolError    boxd broke the protocol
    │   ├── EngineError           an engine
    │   │   └── EngineMissing       its program is not installed
    │   ├── UpstreamError         a model API
    │   └── DaemonUnreachable     the client finds no daemon
    └── Bug                     we are wrong: an invariant does not hold

A message names the thing and what happened; `remedy` says what to do next; `code` is stable and for programs.
"""

from __future__ import annotations

from collections.abc import Mapping


class MeliponaError(Exception):
    """Root of the tree. `code` is stable, `remedy` is the next step for a person (may be empty)."""

    code = "error"
    more: Mapping[str, object] | None = None
    """More fields of the problem document that the API answers with."""

    def __init__(self, message: str, *, remedy: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class AskedWrongly(MeliponaError):
    """The caller asked for something that cannot be done as asked."""

    code = "asked_wrongly"


class Invalid(AskedWrongly):
    """A value is not acceptable."""

    code = "invalid"


class NotFound(AskedWrongly):
    """There is no such thing."""

    code = "not_found"


class Refused(AskedWrongly):
    """Policy says no."""

    code = "refused"


class Conflict(AskedWrongly):
    """The thing is in a state that does not allow it."""

    code = "conflict"


class IllegalTransition(Conflict):
    """A state cannot follow the present one."""

    code = "illegal_transition"


class LimitReached(AskedWrongly):
    """A quota, rate or budget is spent."""

    code = "limit_reached"


class WorldFailed(MeliponaError):
    """Disk, network, kernel or another program let us down."""

    code = "world_failed"


class StoreError(WorldFailed):
    """The database failed."""

    code = "store_error"


class StoreFull(StoreError):
    """No space is left; nothing was written."""

    code = "store_full"


class StoreUnusable(StoreError):
    """The database cannot be used at all: locked, corrupt, read-only, too new, on a network file system."""

    code = "store_unusable"


class OutcomeUnknown(StoreError):
    """An I/O error at commit: the change may or may not have been stored. Never retried on the same connection."""

    code = "outcome_unknown"


class BoxError(WorldFailed):
    """A box failed (a failed command in a box is a result, not an exception)."""

    code = "box_error"


class BoxStartFailed(BoxError):
    """The box never came up."""

    code = "box_start_failed"


class BoxLost(BoxError):
    """The box is gone, or it cannot be told whether it still runs."""

    code = "box_lost"


class BoxProtocolError(BoxError):
    """What came out of the box is not the protocol; the box is ended, the daemon goes on."""

    code = "box_protocol"


class EngineError(WorldFailed):
    """An engine failed."""

    code = "engine_error"


class EngineMissing(EngineError):
    """The engine's program is not installed; `remedy` says what to install."""

    code = "engine_missing"


class UpstreamError(WorldFailed):
    """A model API failed or could not be reached."""

    code = "upstream_error"


class DaemonUnreachable(WorldFailed):
    """No daemon answers for this data folder."""

    code = "daemon_unreachable"


class Bug(MeliponaError):
    """An invariant of ours does not hold."""

    code = "bug"
