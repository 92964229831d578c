"""The container's health check: exit status 0 when `/health` answers 200. It needs only the standard library."""

import http.client
import os
import sys


def alive(port: int) -> bool:
    """Return whether the gateway on this port of the container answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not alive(int(os.environ.get("GATEWAY_PORT", "8000"))))
