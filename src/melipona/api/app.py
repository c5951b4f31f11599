"""The operator's application: every route, under one error handler, for both transports. Which are in it is frozen by
a test; the gate's application has none of them (T11)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from melipona.access.logins import Logins
from melipona.access.oidc_routes import oidc_routes
from melipona.access.passkey_routes import passkey_login_routes, passkey_routes
from melipona.access.people import owner
from melipona.access.people_routes import people_routes
from melipona.access.routes import access_routes
from melipona.access.service import Access
from melipona.access.token_routes import token_routes
from melipona.agents.routes import agent_routes
from melipona.api.authority import Authorities
from melipona.api.board import Board
from melipona.api.guard import Guard, Transport
from melipona.api.hive_routes import hive_routes, place_of
from melipona.api.live import Broadcaster
from melipona.api.metrics import Lag, metric_routes
from melipona.api.operator_routes import operator_routes
from melipona.api.pages import page_routes
from melipona.api.problems import handle_errors
from melipona.api.protocol import PREFIX
from melipona.api.roster import Roster
from melipona.api.services import Services
from melipona.api.sites import Sites
from melipona.api.terminal_stream import terminal_stream_routes
from melipona.api.turn_stream import turn_stream_routes
from melipona.files.listing_routes import listing_routes
from melipona.files.routes import file_routes
from melipona.mail.routes import mail_routes
from melipona.terminals.routes import terminal_routes
from melipona.turns.routes import turn_routes
from melipona.views.events import store_id

DESCRIPTION = """What `mel` and the dashboard use.

Every response carries `Melipona-Protocol`; clients accept older or equal numbers and refuse newer ones. Unknown fields
and values must be ignored. Errors are RFC 9457 problem documents.
"""


@dataclass(frozen=True, slots=True)
class Api:
    """The application and its living parts, shared by both transports."""

    services: Services
    app: FastAPI
    logins: Logins
    broadcaster: Broadcaster
    board: Board
    lag: Lag

    def guarded(self, transport: Transport) -> Guard:
        """The application behind the guard of one transport."""
        return Guard(self.app, transport, self.logins.access, self._sites(), Authorities())

    def _sites(self) -> Sites:
        settings = self.services.settings.access
        proxies = settings.trusted_proxies if settings.behind_proxy else ()
        return Sites(self.services.port, settings.url, tuple(ipaddress.ip_network(proxy) for proxy in proxies))


async def make_api(services: Services) -> Api:
    """Everything of the API for one life of the daemon."""
    access = Access(services.store, services.clock, await services.store.read(owner))
    reach = services.settings.access
    logins = Logins.of(access, reach.url, services.port, services.provider, reach.oidc)
    broadcaster = Broadcaster(services.store, await services.store.read(store_id), access)
    roster = Roster(services)
    board = Board(services, broadcaster, roster, lambda: place_of(services, roster))
    lag = Lag()
    return Api(services, create_app(services, logins, board, lag), logins, broadcaster, board, lag)


def create_app(services: Services, logins: Logins, board: Board, lag: Lag) -> FastAPI:
    """All routes. Without a guard around it nobody is anybody and every route that needs an operator fails."""
    app = FastAPI(
        title="Melipona",
        version=services.version,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        redirect_slashes=False,
    )
    handle_errors(app)
    for router in [
        *_rooms(services, logins, board),
        operator_routes(services, board, lag),
        metric_routes(services, board.broadcaster, board.roster, lag),
        page_routes(logins.access),
    ]:
        app.router.routes.extend(router.routes)
    return app


def _rooms(services: Services, logins: Logins, board: Board) -> list[APIRouter]:
    broadcaster, roster = board.broadcaster, board.roster
    return [
        hive_routes(services, broadcaster, roster, board),
        agent_routes(services.agents, roster, services.check_playbook),
        mail_routes(services.mail),
        turn_routes(services.store, services.turns, services.controls),
        turn_stream_routes(services, broadcaster),
        file_routes(services.files),
        listing_routes(services.files.folders),
        terminal_routes(services.terminals),
        terminal_stream_routes(services.terminals, broadcaster),
        access_routes(logins, services.url, services.local_url),
        token_routes(logins),
        people_routes(logins),
        passkey_routes(logins),
        passkey_login_routes(logins),
        oidc_routes(logins),
    ]
