"""Canaries of gateway/compat/httpx.py: after an upgrade, each names the borrowed behaviour that is gone."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.httpx import GetRequest, RestUrl, WholeResponse
from gateway.upstream.contract import MESSAGES

BASES = ["https://api.example", "https://api.example/", "http://127.0.0.1:8080/deep/base/", "http://[::1]:81/x%20y"]


@pytest.mark.parametrize("base", BASES)
@given(identifier=st.text(min_size=1, max_size=20).filter(lambda text: text not in {".", ".."}), offset=st.integers(0))
def test_a_url_put_together_equals_the_url_that_httpx_parses(base: str, identifier: str, offset: int) -> None:
    """If it fails, `httpx.URL._uri_reference` changed, and calls may go to another URL."""
    try:
        path = MESSAGES.path(identifier)
    except Exception:  # noqa: BLE001 - an id that cannot be in a path: tests/upstream/test_routes.py
        return
    for target in (path, f"{path}?offset={offset}&limit=20"):
        url, expected = RestUrl(httpx.URL(base), target), httpx.URL(base.rstrip("/") + target)
        assert url == expected
        for part in ("raw_path", "host", "netloc", "query"):
            assert getattr(url, part) == getattr(expected, part)
        request = httpx.Request("GET", url)
        assert request.headers["host"] == httpx.Request("GET", expected).headers["host"]


async def test_a_request_without_httpxs_constructor_has_all_that_httpx_sets() -> None:
    """If it fails, `httpx.Request` has another attribute, which `GetRequest` has to set."""
    headers = httpx.Headers({"accept": "application/json"})
    extensions: dict[str, Any] = {"timeout": {}}
    ours = GetRequest(RestUrl(httpx.URL("https://api.example"), "/x?y=1"), headers, extensions)
    theirs = httpx.Request("GET", "https://api.example/x?y=1", headers=headers, extensions=extensions)
    theirs.read()
    assert vars(ours).keys() == vars(theirs).keys()
    assert (ours.method, ours.url, ours.content, ours.extensions) == ("GET", theirs.url, b"", extensions)
    assert await ours.aread() == ours.read() == b""
    assert {**ours.headers, "host": "api.example"} == dict(theirs.headers), "the socket layer adds the host"


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 100_000])
async def test_a_whole_response_is_read_and_closed(body: bytes) -> None:
    """If it fails, `httpx.Response._content` changed, and every body would be read as a stream, or not at all."""
    request = httpx.Request("GET", "http://x/")
    fields: dict[str, Any] = {"headers": [(b"Retry-After", b"3")], "request": request}
    ours, theirs = WholeResponse(503, body, **fields), httpx.Response(503, content=body, **fields)
    assert ours.content == theirs.content == await ours.aread()
    assert ours.headers["retry-after"] == "3"
    assert (ours.is_closed, ours.is_stream_consumed) == (theirs.is_closed, theirs.is_stream_consumed)
    await ours.aclose()
