"""What protects the gateway and its callers over HTTP: CSRF, response headers, trusted proxies."""
