"""The endpoint at ``/graphql`` (GraphQL over HTTP), from a request to its response."""
