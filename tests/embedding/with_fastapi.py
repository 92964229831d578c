from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from shop import gateway


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with gateway.router.lifespan_context(gateway):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/support", gateway)


@app.get("/")
async def home() -> str:
    return "The shop"
