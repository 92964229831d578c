"""`python -m gateway.sandbox`: run the sandbox as a server, for a gateway in another process."""

import argparse

import uvicorn

from gateway.sandbox import Sandbox, sandbox_config


def main() -> None:
    """Serve until a signal stops the process."""
    parser = argparse.ArgumentParser(prog="python -m gateway.sandbox", description="The REST API, with invented data.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    uvicorn.Server(sandbox_config(Sandbox().app, host=options.host, port=options.port)).run()


if __name__ == "__main__":
    main()
