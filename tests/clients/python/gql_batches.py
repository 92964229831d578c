"""Sends two queries in one request: to a gateway without batches, and to one that has them."""

import asyncio
import os

from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportError
from gql.transport.httpx import HTTPXAsyncTransport


async def main() -> None:
    headers = {"authorization": os.environ["GOCHAT_AUTHORIZATION"]}
    requests = [GraphQLRequest(f'{{ thread(id: "{ident}") {{ id status }} }}') for ident in ("th-1", "th-100")]
    for url in (os.environ["GOCHAT_URL"], os.environ["GOCHAT_BATCHING_URL"]):
        async with Client(transport=HTTPXAsyncTransport(url, headers=headers, timeout=30)) as session:
            try:
                print(await session.execute_batch(requests))
            except TransportError as exc:
                print(" ".join(str(exc).split()))


asyncio.run(main())
