"""What the gateway uses of undocumented behaviour of Starlette. On its own, to check an upgrade in one place."""

from starlette.applications import Starlette
from starlette.responses import Response


def without_slash_redirects(app: Starlette) -> Starlette:
    """Return ``app``, which does not redirect from ``/graphql/`` to ``/graphql`` any more.

    The redirect would lead to the host in the request's ``Host`` header. Starlette has a switch for it only in its
    router, which an application creates itself.
    """
    app.router.redirect_slashes = False
    return app


class EncodedResponse(Response):
    """A response whose body is encoded and whose headers are known.

    It sets what `Response.__init__` computes. That costs a small query a twentieth of its time: Starlette renders the
    body again, and derives the content type and the length. `raw_headers` is a list that `send` and `headers` share.
    """

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [(b"content-length", str(len(body)).encode()), *headers]
