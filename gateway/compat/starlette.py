"""What the gateway uses of undocumented behaviour of Starlette. On its own, to check an upgrade in one place."""

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import ASGIApp


class Application(Starlette):
    """An application whose handler of unexpected errors is around the router, inside all other middleware.

    Starlette puts it around the middleware. There, what a middleware answers itself passes it too, and the response to
    an unexpected error gets no request id and no security headers.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Return the router in the error handlers, and those in the middleware."""
        outside, self.user_middleware = self.user_middleware, []
        app = super().build_middleware_stack()
        self.user_middleware = outside
        for middleware, args, kwargs in reversed(outside):
            app = middleware(app, *args, **kwargs)
        return app


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
