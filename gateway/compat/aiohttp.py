"""What the gateway uses of aiohttp beyond its documented API. Apart, so that an upgrade is checked in one place."""

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError


def disable_hidden_retries(session: aiohttp.ClientSession) -> None:
    """Stop aiohttp from repeating a GET on its own when a kept connection breaks; it has no public setting for this.

    The gateway counts every attempt, and bounds retries by a budget and the deadline.
    """
    session._retry_connection = False  # noqa: SLF001 - it has no public name


def is_decoding_error(exc: Exception) -> bool:
    """Whether a body could not be decompressed. Only the cause tells this from a connection that broke off."""
    return isinstance(exc, aiohttp.ClientPayloadError) and isinstance(exc.__cause__, ContentEncodingError)
