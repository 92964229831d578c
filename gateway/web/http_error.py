"""What HTTP itself answers a request with: a status, an error, and headers that belong to it."""

from collections.abc import Mapping

from gateway.errors import GatewayError

_NO_HEADERS: Mapping[str, str] = {}


class HttpError(Exception):
    """A request that is not executed. ``error`` is in the body of the response, ``headers`` are added to it."""

    def __init__(self, status: int, error: GatewayError, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(status, error.code)
        self.status = status
        self.error = error
        self.headers = headers
