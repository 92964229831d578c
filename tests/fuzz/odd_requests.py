"""A strategy for HTTP requests: right ones, nearly right ones, and nonsense, for every route of the gateway."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from tests.execution.operations import operations

Draw = Callable[[st.SearchStrategy[Any]], Any]

_METHODS = ["POST"] * 12 + ["GET"] * 5 + ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
_PATHS = ["/graphql"] * 15 + ["/graphql/explain"] * 4
_PATHS += ["/graphql/", "/health", "/ready", "/metrics", "/graphiql/assets/x", "/", "//", "/GraphQL"]
_TOKENS = [
    "{", "}", "(", ")", "[", "]", "!", "$", "&", "...", ":", "=", "@", "|", ",", " ", "#", "\n", "query",
    "mutation",
    "subscription", "fragment", "on", "thread", "threads", "customer", "id", "messages", "first", "_entities",
    "_service", "representations", "__typename", "__schema", "__type", "profile", "F", "$a",
    "@skip(if: true)", "@include(if: $a)",
    "@defer", "@stream", "true", "null", "1", "-1", "1.5", "1e999", "0xFF", '""', '"th-1"', '"""x"""', '"\\u0041"',
    '"\\', "{ id }", "query ($a: ID!)", "Thread", "é", "\0", "\ufeff", "\u2028", "'", "type", "extend", "schema",
]  # fmt: skip
_HEADERS: dict[str, list[str]] = {
    "accept": [
        "*/*", "", "text/html", "text/html,*/*;q=0.8", "application/json", "application/graphql-response+json",
        "multipart/mixed, application/json", "multipart/mixed;deferSpec=20220824, application/json", "image/png",
        "application/json;q=nan", "application/json;q=", ";;;,,,", "application/json;q=0",
    ],
    "accept-encoding": ["gzip", "zstd", "gzip;q=0, *", "identity;q=0", "br", "*", "", "gzip;q=x"],
    "authorization": ["Basic", "Basic !!", "Bearer", "Bearer x.y.z", "", "Digest a=b", "Basic dTpw"],
    "gateway-timeout": ["1", "0", "-1", "nan", "inf", "1e999", "1e-9", "many", ""],
    "gateway-explain": ["1", "0", "x"],
    "x-request-id": ["abc", "", "x" * 200, 'a"b', "a b"],
    "if-none-match": ["*", "", '"x"', 'W/"x", "y"', "x"],
    "origin": ["null", "https://app.example.com", "https://evil.example", "x"],
    "access-control-request-method": ["POST", "DELETE", ""],
    "sec-fetch-site": ["cross-site", "same-origin", "none", "?"],
    "referer": ["http://[", "https://evil.example/"],
    "x-forwarded-for": ["127.0.0.1", "x, y", ""],
    "traceparent": ["00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x", ""],
    "host": ["x", "[", "a:b:c"],
    "x-api-key": ["x", ""],
    "expect": ["100-continue"],
}  # fmt: skip
_CONTENT_TYPES = [
    "application/json", "application/json; charset=utf-8", "application/json;charset=latin-1", "text/plain", "",
    "application/graphql", "multipart/form-data; boundary=x", "application/json, application/json", ";", "a/b/c",
]  # fmt: skip
_KEYS = ["query", "variables", "operationName", "extensions", "documentId"]
_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**30, -(2**63) - 1, 1e308, -0.0, 2**53 + 1]),
        st.text(max_size=20),
        st.sampled_from(
            ["", "th-1", "{ __typename }", "sha256:" + "0" * 64, "x" * 5000, "\ud800", "\0", "../..", "a/b?c"]
        ),
    ),
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(st.text(max_size=5) | st.sampled_from(_KEYS), below, max_size=4)
    ),
    max_leaves=8,
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it goes over the socket."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def encode(self) -> bytes:
        """Return its bytes. What says how long it is, is right: what is no HTTP at all is the server's affair."""
        given = {"host": "gateway", **dict(self.headers), "content-length": str(len(self.body))}
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def _one_in(draw: Draw, count: int) -> bool:
    return bool(draw(st.integers(0, count - 1)) == 0)


def _document(draw: Draw) -> tuple[str, dict[str, Any]]:
    """Return a document and what goes with it."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return "".join(draw(st.lists(st.sampled_from(_TOKENS), max_size=25))), {}
    operation = draw(operations())
    document = operation.document
    if kind == 1:
        at = draw(st.integers(0, len(document)))
        document = document[:at] + draw(st.sampled_from(_TOKENS)) + document[at + draw(st.integers(0, 5)) :]
    return document, {"operationName": operation.name, "variables": operation.variables}


def _parameters(draw: Draw) -> dict[str, Any]:
    document, more = _document(draw)
    parameters = {"query": document, **more}
    if _one_in(draw, 4):
        parameters[draw(st.sampled_from(_KEYS))] = draw(_JSON)
    if _one_in(draw, 6):
        digest = draw(st.sampled_from(["0" * 64, "x", 1, None]))
        parameters["extensions"] = {
            "persistedQuery": {"version": draw(st.sampled_from([1, 1, 2])), "sha256Hash": digest}
        }
    if _one_in(draw, 8):
        del parameters["query"]
    return parameters


def _body(draw: Draw) -> bytes:
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return bytes(draw(st.binary(max_size=100)))
    if kind == 1:
        return json.dumps(draw(_JSON)).encode()
    if kind == 2:
        value: Any = [_parameters(draw) for _ in range(draw(st.integers(0, 4)))]
    else:
        value = _parameters(draw)
    text = json.dumps(value, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    if kind == 3:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=3)) + text[at + draw(st.integers(0, 3)) :]
    return text


def _query_string(draw: Draw) -> str:
    if _one_in(draw, 6):
        return quote(draw(st.binary(max_size=40)), safe="%&=+")
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in _parameters(draw).items()}
    return urlencode(values, errors="surrogatepass")


@st.composite
def requests(draw: Draw) -> Request:
    """Any request."""
    method = draw(st.sampled_from(_METHODS))
    target = draw(st.sampled_from(_PATHS))
    if _one_in(draw, 40):
        target = "/" + quote(draw(st.text(max_size=10)).encode(errors="replace"))
    headers = {"content-type": "application/json"}
    if _one_in(draw, 8):
        headers["content-type"] = draw(st.sampled_from(_CONTENT_TYPES))
    for name in draw(st.lists(st.sampled_from(sorted(_HEADERS)), max_size=3)):
        headers[name] = draw(st.sampled_from(_HEADERS[name]))
    if method == "POST":
        return Request(method, target, tuple(headers.items()), _body(draw))
    query = _query_string(draw)
    return Request(method, f"{target}?{query}" if query else target, tuple(headers.items()), b"")
