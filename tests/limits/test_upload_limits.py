"""An upload of 25 MB in ten files: a worker takes less than 40 MB for it, and nobody else waits for more than 50 ms.

``uv run pytest -m slow -s tests/limits/test_upload_limits.py`` prints what it measures.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.harness import SERVICE
from tests.limits.watch import Watch, slowness
from tests.programs import MODULE, Start, serving
from tests.writes.uploads.forms import BOUNDARY, PREFLIGHT, form, upload

pytestmark = pytest.mark.slow

LONGEST_BLOCKED = 0.050
MOST_MEGABYTES = 40
MOST_FOR_ONE = 4
TRIES = 4
FILES = [bytes([number]) * (25 * 2**20 // 10) for number in range(10)]


def posting(url: str, body: bytes) -> Callable[[], None]:
    """Return what sends an upload, and asserts that it is carried out."""

    def post() -> None:
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **PREFLIGHT}
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
            connection.request("POST", "/graphql", body, headers)
            answer = connection.getresponse().read()
        assert b'"outcome":"APPLIED"' in answer, answer

    return post


@pytest.fixture
def program(begin: Start, upstream: str) -> tuple[str, int]:
    """The URL and the process id of a gateway in a process of its own, which has had uploads before."""
    options = {**SERVICE, "mutations": "true", "operation_timeout": "60", "upstream_read_timeout": "60"}
    program = begin("serve", "--port", "0", command=MODULE, upstream_url=upstream, **options)
    url = serving(program)
    for _ in range(3):
        posting(url, form(upload([b"x" * 400_000] * 10)))()
    return url, program.process.pid


def test_an_upload_is_nobody_elses_problem(program: tuple[str, int]) -> None:
    url, pid = program
    post = posting(url, form(upload(FILES)))
    usual = Watch(url, pid).memory()
    for left in reversed(range(TRIES)):
        with Watch(url, pid) as watch:
            post()
        grown = watch.memory(peak=True) - usual
        sys.stdout.write(f"\na worker grew by {grown:.1f} MB, others waited {watch.blocked * 1000:.0f} ms at most\n")
        assert grown < MOST_MEGABYTES
        if watch.blocked < LONGEST_BLOCKED * slowness():
            return
        assert left, f"others waited {watch.blocked:.3f} s"


def test_each_upload_takes_little_memory(program: tuple[str, int]) -> None:
    """Several at a time: what one of them takes is the difference."""
    url, pid = program
    post = posting(url, form(upload(FILES)))
    post()
    usual = Watch(url, pid).memory()
    uploads = [threading.Thread(target=post) for _ in range(5)]
    with Watch(url, pid) as watch:
        for each in uploads:
            each.start()
        for each in uploads:
            each.join()
    grown = watch.memory(peak=True) - usual
    sys.stdout.write(f"\na worker grew by {grown:.1f} MB for {len(uploads)} uploads at a time\n")
    assert grown < MOST_FOR_ONE * len(uploads)
