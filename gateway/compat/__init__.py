"""Every use of a library's private names and undocumented behaviour, one module per library, each with its reason.

The sandbox imports nothing of the gateway: its use of uvicorn is in `gateway.sandbox.http.compat`.
"""
