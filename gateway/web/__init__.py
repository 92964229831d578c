"""Everything that knows HTTP: middleware, the endpoint at ``/graphql``, health checks and GraphiQL."""
