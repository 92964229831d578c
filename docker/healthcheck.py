"""Whether the gateway in this container is alive: status 0 where `/health` says so. Needs nothing but Python."""

import http.client
import os
import sys


def alive(port: int) -> bool:
    """Return whether the gateway answers on ``port`` of this machine."""
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
