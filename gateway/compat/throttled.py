"""What the gateway uses of throttled-py without documentation. Apart, like everything undocumented of a library."""

from typing import Any

from throttled.asyncio import Quota, RedisStore
from throttled.rate_limiter.quota_parser import parse


def store_over(client: Any) -> RedisStore:
    """Return a store of throttled-py that uses an existing client of redis-py.

    The store otherwise opens a client of its own, from a URL. Its option CONNECTION_FACTORY_CLASS cannot carry a
    client: the options are copied deeply.
    """
    store = RedisStore()
    store._backend._client = client  # noqa: SLF001 - it has no public name
    return store


def parse_quota(text: str) -> Quota:
    """Return the quota in a text such as ``100/minute``; BaseThrottledError or ValueError for any other text.

    The parser of throttled-py is a module that its documentation does not name. It accepts several quotas; here one.
    """
    (quota,) = parse(text)
    return quota
