"""The requests and responses made with a short cut are those that httpx would have made."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.httpx import RestUrl, WholeResponse
from gateway.upstream.routes import MESSAGES

BASES = ["https://api.example", "https://api.example/", "http://127.0.0.1:8080/deep/base/", "http://[::1]:81/x%20y"]


@pytest.mark.parametrize("base", BASES)
@given(identifier=st.text(min_size=1, max_size=20).filter(lambda text: text not in {".", ".."}), offset=st.integers(0))
def test_a_url_is_what_httpx_makes_of_its_text(base: str, identifier: str, offset: int) -> None:
    try:
        path = MESSAGES.path(identifier)
    except Exception:  # noqa: BLE001 - an id that no path can carry: tests/test_identity.py
        return
    for target in (path, f"{path}?offset={offset}&limit=20"):
        url, expected = RestUrl(httpx.URL(base), target), httpx.URL(base.rstrip("/") + target)
        assert url == expected
        for part in ("raw_path", "host", "netloc", "query"):
            assert getattr(url, part) == getattr(expected, part)
        request = httpx.Request("GET", url)
        assert request.headers["host"] == httpx.Request("GET", expected).headers["host"]


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 100_000])
async def test_a_response_is_read_and_closed(body: bytes) -> None:
    request = httpx.Request("GET", "http://x/")
    made: dict[str, Any] = {"headers": [(b"Retry-After", b"3")], "request": request}
    ours, theirs = WholeResponse(503, body, **made), httpx.Response(503, content=body, **made)
    assert ours.content == theirs.content == await ours.aread()
    assert ours.headers["retry-after"] == "3"
    assert (ours.is_closed, ours.is_stream_consumed) == (theirs.is_closed, theirs.is_stream_consumed)
    await ours.aclose()
