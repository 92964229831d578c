import asyncio
import os
import sys

import httpx
from gochat import Client, GraphQLClientGraphQLMultiError


async def main() -> None:
    headers = {"authorization": os.environ["GOCHAT_AUTHORIZATION"]}
    http = httpx.AsyncClient(headers=headers, timeout=30)
    async with Client(os.environ["GOCHAT_URL"], http_client=http) as client:
        try:
            answer = await client.thread(id=sys.argv[1])
        except GraphQLClientGraphQLMultiError as exc:
            print([error.extensions["code"] for error in exc.errors if error.extensions], exc.data)
        else:
            print(answer.thread and answer.thread.status)


asyncio.run(main())
