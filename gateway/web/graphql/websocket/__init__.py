"""GraphQL over WebSocket, by the subprotocol ``graphql-transport-ws``."""
