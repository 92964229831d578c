"""What the gateway uses of undocumented behaviour of Starlette. On its own, to check an upgrade in one place."""

from starlette.applications import Starlette


def without_slash_redirects(app: Starlette) -> Starlette:
    """Return ``app``, which does not redirect from ``/graphql/`` to ``/graphql`` any more.

    The redirect would lead to the host in the request's ``Host`` header. Starlette has a switch for it only in its
    router, which an application creates itself.
    """
    app.router.redirect_slashes = False
    return app
