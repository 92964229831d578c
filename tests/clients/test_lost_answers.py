"""A mutation that got no answer is not repeated by any client: Apollo's RetryLink is set as the documentation says."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.javascript import Project

pytestmark = pytest.mark.slow


def test_no_client_repeats_a_mutation_that_got_no_answer(built: Project) -> None:
    seen: Counter[tuple[str, str]] = Counter()

    class HangsUp(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen[self.headers["client"], body["query"].split()[0]] += 1
            self.close_connection = True

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the parent's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        failed = json.loads(built.run("build/lost.js", f"http://127.0.0.1:{server.server_port}/graphql"))
        server.shutdown()
    assert failed == ["apollo", "request", "urql", "apollo's query"]
    mutations = {(client, "mutation"): 1 for client in ("apollo", "request", "urql")}
    assert seen == {**mutations, ("apollo", "query"): 3}, "the link does repeat queries"
