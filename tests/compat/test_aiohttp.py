"""Canaries of gateway/compat/aiohttp.py: after an upgrade, each names the borrowed behaviour that is gone."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gateway.compat.aiohttp import disable_hidden_retries, is_decoding_error

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("disabled", [True, False])
async def test_aiohttp_repeats_a_get_unless_its_private_flag_is_off(*, disabled: bool) -> None:
    """If the first case fails, the flag was renamed; if the second does, the flag is not needed any more."""
    requests = 0

    async def answer_one_request_per_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.close()

    async with serving(answer_one_request_per_connection) as url, aiohttp.ClientSession() as session:
        if disabled:
            disable_hidden_retries(session)
        await (await session.get(url)).read()
        if disabled:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.get(url)
        else:
            await (await session.get(url)).read()
    assert requests == (2 if disabled else 3)


GOOD = gzip.compress(b"{}")


@pytest.mark.parametrize(
    ("body", "length", "is_decoding"),
    [(b"no gzip at all", 14, True), (GOOD[:5] + b"\xff" * 20, 25, True), (GOOD[:-9], len(GOOD), False)],
    ids=["not gzip", "damaged", "cut off"],
)
async def test_aiohttp_says_by_the_cause_that_a_body_cannot_be_decompressed(
    body: bytes, length: int, *, is_decoding: bool
) -> None:
    """If it fails, a body that can never be decoded would be taken for a broken connection, and retried."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (length, body))
        await writer.drain()
        writer.close()

    async with serving(answer) as url, aiohttp.ClientSession() as session:
        response = await session.get(url)
        with pytest.raises(aiohttp.ClientPayloadError) as caught:
            await response.read()
    assert is_decoding_error(caught.value) is is_decoding
