"""Random numbers of the gateway."""

import random
import subprocess
import sys

from gateway.web.middleware import request_id

_FORKS = """
import os
from gateway.clock import RANDOM
for _ in range(2):
    if os.fork() == 0:
        print(RANDOM.random(), flush=True)
        os._exit(0)
    os.wait()
"""


def test_forks_draw_different_numbers() -> None:
    shown = subprocess.run([sys.executable, "-c", _FORKS], capture_output=True, text=True, check=True).stdout  # noqa: S603 - the program above
    assert len(set(shown.split())) == 2


def test_nobody_who_seeds_pythons_own_generator_predicts_an_id() -> None:
    ids = set()
    for _ in range(2):
        random.seed(0)
        ids.add(request_id(None))
    assert len(ids) == 2
    assert all(len(each) == 16 for each in ids)
