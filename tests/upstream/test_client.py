"""The REST client: every exception of the HTTP client becomes one of ours, in every mode."""

import httpx
import pytest

from gateway.errors import GatewayError
from gateway.upstream.client import UpstreamClient
from tests.harness import build_client, settings, with_account
from tests.upstream.logins import TIMEOUT, ask


def _all_subclasses(kind: type[Exception]) -> set[type[Exception]]:
    found = {kind}
    for each in kind.__subclasses__():
        found |= _all_subclasses(each)
    return found


def _name(kind: object) -> str:
    assert isinstance(kind, type)
    return kind.__name__


CLIENT_EXCEPTIONS: set[type[Exception]] = {
    httpx.InvalidURL,
    TimeoutError,
    *_all_subclasses(httpx.HTTPError),
    *_all_subclasses(httpx.StreamError),
}


@pytest.mark.parametrize("kind", sorted(CLIENT_EXCEPTIONS, key=_name), ids=_name)
async def test_every_exception_of_the_http_client_becomes_a_gateway_error(kind: type[Exception]) -> None:
    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise _make(kind, request)

    client = UpstreamClient(Failing(), "http://x", TIMEOUT)
    with pytest.raises(GatewayError) as caught:
        await ask(client)
    timeout = issubclass(kind, (httpx.TimeoutException, TimeoutError))
    assert (caught.value.code == "UPSTREAM_TIMEOUT") is timeout


def _make(kind: type[Exception], request: httpx.Request) -> Exception:
    if issubclass(kind, httpx.HTTPStatusError):
        return kind("m", request=request, response=httpx.Response(500))
    wants_message = not issubclass(kind, httpx.StreamError) or kind is httpx.StreamError
    return kind("m") if wants_message else kind()


def test_clients_are_built_for_every_mode() -> None:
    for overrides in ({"upstream_identity": "passthrough"}, {"upstream_auth": "basic"}, {"upstream_auth": "token"}):
        assert isinstance(build_client(settings(**with_account(**overrides))), UpstreamClient)
