"""What the gateway needs of httpx beyond its public API: requests and responses without httpx's constructors.

httpx parses and checks every URL, and reads every body as a stream. Here the URL consists of a base that was parsed
once and a path that `gateway.upstream.contract` has encoded, and the body is in memory. That saves two thirds of the
cost of the two objects (tests/bench/layers.py). Everything else about them is httpx's own. Canaries:
tests/compat/test_httpx.py.
"""

from typing import Any

import httpx

_NO_BODY = httpx.ByteStream(b"")


class RestUrl(httpx.URL):
    """The URL of ``target``, a path with its query, below ``base``."""

    def __init__(self, base: httpx.URL, target: str) -> None:
        path, _, query = target.partition("?")
        parts = base._uri_reference  # noqa: SLF001 - the parsed parts have no public name
        self._uri_reference = parts._replace(path=parts.path.rstrip("/") + path, query=query or None)


class GetRequest(httpx.Request):
    """A GET without a body. It does not copy ``headers`` and ``extensions``; the socket layer adds ``Host``."""

    def __init__(self, url: RestUrl, headers: httpx.Headers, extensions: dict[str, Any]) -> None:
        self.method = "GET"
        self.url = url
        self.headers = headers
        self.extensions = extensions
        self.stream = _NO_BODY
        self._content = b""


class WholeResponse(httpx.Response):
    """A response whose body has been read; ``headers`` are the upstream's, without those about the transfer."""

    def __init__(
        self,
        status_code: int,
        body: bytes,
        *,
        request: httpx.Request,
        headers: list[tuple[bytes, bytes]] | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        stream = httpx.ByteStream(body)
        super().__init__(status_code, headers=headers, stream=stream, request=request, extensions=extensions)
        self._content = body
        self.is_closed = True
        self.is_stream_consumed = True
