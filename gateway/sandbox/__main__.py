"""`python -m gateway.sandbox`: run the sandbox as a server, for a gateway in another process."""

import argparse

from gateway.sandbox import serve


def main() -> None:
    """Serve until a signal stops the process."""
    parser = argparse.ArgumentParser(prog="python -m gateway.sandbox", description="The REST API, with invented data.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    serve(options.host, options.port)


if __name__ == "__main__":
    main()
