"""The HTTP side of the sandbox: the server, one request and its response."""
