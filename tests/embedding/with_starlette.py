from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shop import gateway
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with gateway.router.lifespan_context(gateway):
        yield


async def home(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("The shop")


app = Starlette(routes=[Route("/", home), Mount("/support", gateway)], lifespan=lifespan)
