"""The pages that people see."""

from strawberry.http.ides import get_graphql_ide_html


def graphiql_page() -> str:
    """Return the GraphiQL page; its assets come from a CDN, with integrity hashes."""
    return get_graphql_ide_html(graphql_ide="graphiql")
