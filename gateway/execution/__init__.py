"""From a GraphQL document to a result."""
