"""What a cache needs to ask again cheaply: an ``ETag``, and 304 where nothing has changed (RFC 9110, section 13).

It is for a GET that names its document, whose URL is short and the same every time. The operation is executed all the
same, so that nobody sees what they may not: what is saved is the way back. A cache may keep an answer for the one who
asked for it and must ask each time (``private, no-cache``); with an error in it, it must not keep it at all.
"""

import hashlib

from starlette.responses import Response


def make_conditional(response: Response, if_none_match: str | None) -> None:
    """Give a response its ``ETag``; where the client has that already, make it 304 without a body."""
    tag = _weak_tag(response)
    response.headers["etag"] = tag
    response.headers["cache-control"] = "private, no-cache"
    response.headers["vary"] = "accept, accept-encoding"  # also with 304, which does not pass through compression
    if if_none_match is not None and _matches(tag, if_none_match):
        response.status_code = 304
        response.body = b""
        del response.headers["content-type"], response.headers["content-length"]


def forbid_caching(response: Response) -> None:
    """Let no cache keep a response."""
    response.headers["cache-control"] = "no-store"


def _weak_tag(response: Response) -> str:
    """Hash what the client sees. It is weak: compressed or not, the answer is the same (section 8.8.1)."""
    text = response.headers["content-type"].encode() + b"\n" + response.body
    return f'W/"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'


def _matches(tag: str, if_none_match: str) -> bool:
    """Compare weakly, as section 13.1.2 asks: whether a tag is weak makes no difference."""
    tags = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags
