"""What a user would otherwise write: Strawberry, Starlette and httpx put together the obvious way.

It answers the measured queries as the gateway does. There is no trick in it, good or bad: typed classes built from
the JSON, default resolvers, one `AsyncClient` for the process, Strawberry's own ASGI view, uvicorn.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.scalars import JSON
from strawberry.types import Info


@strawberry.type
class AttachmentMovedTo:
    agent_id: int | None
    customer_id: str | None
    file_id: str | None

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "AttachmentMovedTo":
        return cls(agent_id=data.get("agent_id"), customer_id=data.get("customer_id"), file_id=data.get("file_id"))


@strawberry.type
class AttachmentMovements:
    movements: list[AttachmentMovedTo]
    total: int | None

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "AttachmentMovements":
        movements = [AttachmentMovedTo.parse(each) for each in data.get("movements") or []]
        return cls(movements=movements, total=data.get("total"))


@strawberry.type
class Attachment:
    id: strawberry.ID
    file_name: str | None
    file_size: float | None
    file_mime: str | None
    attachment_movements: AttachmentMovements | None

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "Attachment":
        moved = data.get("attachment_movements")
        return cls(
            id=strawberry.ID(data["id"]),
            file_name=data.get("file_name"),
            file_size=data.get("file_size"),
            file_mime=data.get("file_mime"),
            attachment_movements=None if moved is None else AttachmentMovements.parse(moved),
        )


@strawberry.type
class Message:
    id: strawberry.ID
    subject: str | None
    from_: str | None = strawberry.field(name="from")
    content: str | None
    created_at: str | None
    attachments: list[Attachment]

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "Message":
        return cls(
            id=strawberry.ID(data["id"]),
            subject=data.get("subject"),
            from_=data.get("from"),
            content=data.get("content"),
            created_at=data.get("created_at"),
            attachments=[Attachment.parse(each) for each in data.get("attachments") or []],
        )


@strawberry.type
class CustomerNameVariation:
    first_name: str | None
    last_name: str | None

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "CustomerNameVariation":
        return cls(first_name=data.get("first_name"), last_name=data.get("last_name"))


@strawberry.type
class Customer:
    id: strawberry.ID
    external_id: str | None
    first_name: str | None
    last_name: str | None
    custom_fields: JSON | None
    name_variations: list[CustomerNameVariation]

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "Customer":
        return cls(
            id=strawberry.ID(data["id"]),
            external_id=data.get("external_id"),
            first_name=data.get("first_name"),
            last_name=data.get("last_name"),
            custom_fields=data.get("custom_fields"),
            name_variations=[CustomerNameVariation.parse(each) for each in data.get("name_variations") or []],
        )


@strawberry.type
class Thread:
    id: strawberry.ID
    status: int | None
    message_count: int | None
    last_message: Message | None
    attachments: list[Attachment]
    customers: list[Customer]

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "Thread":
        last = data.get("last_message")
        return cls(
            id=strawberry.ID(data["id"]),
            status=data.get("status"),
            message_count=data.get("message_count"),
            last_message=None if last is None else Message.parse(last),
            attachments=[Attachment.parse(each) for each in data.get("attachments") or []],
            customers=[Customer.parse(each) for each in data.get("customers") or []],
        )


@strawberry.type
class Query:
    @strawberry.field
    async def thread(self, info: Info[dict[str, Any], None], id: strawberry.ID) -> Thread | None:  # noqa: A002 - its name
        request: Request = info.context["request"]
        client: httpx.AsyncClient = request.app.state.client
        response = await client.get(
            f"/api/v1/thread/{id}", headers={"Authorization": request.headers.get("authorization", "")}
        )
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return Thread.parse(response.json())


class View(GraphQL[dict[str, Any], None]):
    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> dict[str, Any]:
        return {"request": request, "response": response}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"], timeout=10) as client:
        app.state.client = client
        yield


async def health(_request: Request) -> Response:
    return Response("ok")


app = Starlette(
    routes=[Route("/graphql", View(strawberry.Schema(Query))), Route("/health", health)],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
