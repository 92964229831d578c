"""Finds the endpoint of the contract for a method and a path.

It matches the segments of the *raw* path and decodes each by itself. A router that matches the decoded path would
read the id `a/b`, sent as `a%2Fb`, as two segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

ROUTES: Final = ("thread", "messages", "update_thread", "message", "chat_token", "customer", "token")
ROUTES_WITH_ID: Final = ("thread", "messages", "update_thread", "customer")
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Target:
    """The endpoint a request is for, and the id in its path; `allowed` names the methods the path takes."""

    route: str
    ident: str = ""
    allowed: tuple[str, ...] = ()


def locate(method: str, path: str) -> Target:
    """Find the endpoint for a method and a raw path; the route is `unknown` where there is none."""
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    methods, ident = _methods(segments)
    return Target(methods.get(method, UNKNOWN), ident, tuple(methods))


def _methods(segments: Sequence[str]) -> tuple[dict[str, str], str]:
    match segments:
        case ["api", "v1", "thread", ident]:
            found = {"GET": "thread", "POST": "update_thread"}, ident
        case ["api", "v1", "thread", ident, "messages"]:
            found = {"GET": "messages"}, ident
        case ["api", "v1", "customers", ident]:
            found = {"GET": "customer"}, ident
        case ["api", "v1", "message"]:
            found = {"POST": "message"}, ""
        case ["api", "v1", "chat", "token"]:
            found = {"POST": "chat_token"}, ""
        case ["api", "v1", "token"]:
            found = {"POST": "token"}, ""
        case _:
            found = {}, ""
    return found
