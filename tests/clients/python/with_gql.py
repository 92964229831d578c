import asyncio
import os
import sys

from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport

THREAD = gql("""
query Thread($id: ID!) {
  thread(id: $id) {
    id
    status
    lastMessage { subject }
  }
}
""")


async def main() -> None:
    headers = {"authorization": os.environ["GOCHAT_AUTHORIZATION"]}
    transport = HTTPXAsyncTransport(os.environ["GOCHAT_URL"], headers=headers, timeout=30)
    THREAD.variable_values = {"id": sys.argv[1]}
    # The schema is fetched once, and each document is checked against it before it is sent.
    async with Client(transport=transport, fetch_schema_from_transport=True, execute_timeout=30) as session:
        try:
            data = await session.execute(THREAD)
        except TransportQueryError as exc:
            data = exc.data  # what could be had, beside the errors
            print([error["extensions"]["code"] for error in exc.errors or ()])
        if data:
            print(data["thread"])


asyncio.run(main())
