"""Mail over HTTP: the hive's messages, sending, retrying, and the operator's inbox (D-39)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from melipona.ids import OPERATOR, MessageId
from melipona.mail.looks import get as message_of
from melipona.mail.service import Mail
from melipona.store.engine import Event
from melipona.views.mail import (
    Messages,
    MessageView,
    inbox,
    list_messages,
    one_message,
    unread_from_agents,
)
from melipona.views.request import LIMIT_DEFAULT, Asker, Following, Limit, Number, message_number, room_router

WAIT_MOST = 60.0
"""Longest wait of one request; a client that waits longer asks again."""


class NewMessage(BaseModel):
    """A message to send."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(description="An agent's name, or `*` for all agents.")
    body: str
    reply_to: Number | None = Field(default=None, description="The message that this one answers.")
    wake: bool = Field(default=True, description="False lets it ride along with the recipient's next turn.")
    key: str | None = Field(default=None, max_length=200, description="The same as the header Idempotency-Key.")


class Read(BaseModel):
    """Messages that the operator has read."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Number] | None = Field(default=None, max_length=1000, description="Null means all.")


class SentView(TypedDict):
    """What became of a message that was sent."""

    id: int
    ids: list[int]
    thread: int | None
    note: str
    repeated: bool


class BodyView(TypedDict):
    """The whole body of a message."""

    id: int
    body: str
    files: list[str]
    """Words of it that are files which `/files` shows."""
    files_cut: bool


class Marked(TypedDict):
    """How many messages were unread before."""

    marked: int


Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]
Wait = Annotated[float, Query(ge=0, le=WAIT_MOST, description="Seconds to wait for an unread message of an agent.")]
Text = Annotated[
    str | None, Query(min_length=1, max_length=200, description="Only those whose body holds this, near the newest.")
]


def mail_routes(mail: Mail) -> APIRouter:
    """The routes of this room."""
    router = room_router("mail")
    _reading(router, mail)
    _writing(router, mail)
    _inbox(router, mail)
    return router


def _reading(router: APIRouter, mail: Mail) -> None:
    store = mail.store

    @router.get("/messages", response_model=Messages)
    async def messages(
        limit: Limit = LIMIT_DEFAULT,
        following: Following = None,
        agent: str | None = None,
        state: str | None = None,
        thread: Number | None = None,
        text: Text = None,
    ) -> Any:
        """Messages of the whole hive, newest first."""
        narrowed = partial(list_messages, agent=agent, state=state, thread=thread, text=text)
        return await store.read(narrowed, vouch=mail.page_look(), limit=limit, following=following)

    @router.get("/messages/{message}", response_model=MessageView)
    async def message(message: str) -> Any:
        """One message, by `12` or `m12`."""
        return await store.read(one_message, message_number(message), vouch=mail.page_look())

    @router.get("/messages/{message}/body", response_model=BodyView)
    async def whole_body(message: str) -> Any:
        """The whole body of a message, also of a long one whose view holds only the first lines."""
        found = await store.read(message_of, message_number(message))
        body = await asyncio.to_thread(mail.whole_body, found)
        vouched = await asyncio.to_thread(mail.page_look(), body)
        return {"id": found.id, "body": body, "files": list(vouched.paths), "files_cut": vouched.cut}

    del messages, message, whole_body


def _writing(router: APIRouter, mail: Mail) -> None:
    @router.post("/messages", status_code=201, response_model=SentView)
    async def send(new: NewMessage, by: Asker, idempotency_key: Key = None) -> Any:
        """Send a message. With a key, a repetition has no second effect and gets the first one's ids."""
        key = idempotency_key or new.key
        sent = await mail.post(by, new.to, new.body, reply_to=new.reply_to, key=key, wake=new.wake)
        return {
            "id": sent.id,
            "ids": list(sent.ids),
            "thread": sent.thread,
            "note": sent.note,
            "repeated": sent.repeated,
        }

    @router.post("/messages/{message}/retry", response_model=MessageView)
    async def retry(message: str, by: Asker) -> Any:
        """Give a parked message a fresh start."""
        number = message_number(message)
        await mail.store.write(mail.retry, number, by=by)
        return await mail.store.read(one_message, number, vouch=mail.page_look())

    del send, retry


def _inbox(router: APIRouter, mail: Mail) -> None:
    store = mail.store

    @router.get("/inbox", response_model=Messages)
    async def operators_mail(limit: Limit = LIMIT_DEFAULT, following: Following = None) -> Any:
        """The operator's messages, newest first. Changes nothing."""
        return await store.read(inbox, vouch=mail.page_look(), limit=limit, following=following)

    @router.get("/inbox/unread", response_model=Messages)
    async def unread(wait: Wait = 0, limit: Limit = LIMIT_DEFAULT) -> Any:
        """Unread messages that agents sent to the operator; with `wait`, as soon as there is one. Changes nothing."""
        return await _unread(mail, wait, limit)

    @router.post("/inbox/read", response_model=Marked)
    async def mark_read(read: Read) -> Any:
        """Mark messages as read: they are handled."""
        ids = None if read.ids is None else [MessageId(number) for number in read.ids]
        return {"marked": await store.write(mail.mark_read, ids)}

    del operators_mail, unread, mark_read


async def _unread(mail: Mail, seconds: float, limit: int) -> dict[str, Any]:
    store, news = mail.store, asyncio.Event()

    def look(events: Sequence[Event]) -> None:
        if any(event.kind == "message.sent" and OPERATOR in event.data for event in events):
            news.set()

    end = store.subscribe(look)
    try:
        async with asyncio.timeout(seconds):
            while not (found := await store.read(unread_from_agents, vouch=mail.page_look(), limit=limit))["items"]:
                await news.wait()
                news.clear()
            return found
    except TimeoutError:
        return await store.read(unread_from_agents, vouch=mail.page_look(), limit=limit)
    finally:
        end()
