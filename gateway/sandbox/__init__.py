"""The Go!Chat REST API to run and test against: invented data, a log of the calls, and faults on request.

from gateway.sandbox import BackgroundServer, Fault, Sandbox, sandbox_config

sandbox = Sandbox()
with BackgroundServer(sandbox_config(sandbox.app)) as server:
    sandbox.faults.add(Fault("thread", times=1, status=503, headers={"retry-after": "1"}))
    sandbox.faults.add(Fault("thread", "th-1", hold="slow"))
    ...  # call server.url + "/api/v1/thread/th-1", as gateway@sandbox.example / sandbox-password
    sandbox.wait_for_calls(1, route="thread")
    sandbox.release("slow")
    assert sandbox.calls[0].status == 503
"""

from gateway.sandbox.app import Sandbox
from gateway.sandbox.calls import Call
from gateway.sandbox.faults import Fault
from gateway.sandbox.faults.drift import faults_of_drift
from gateway.sandbox.faults.patch import ABSENT
from gateway.sandbox.fixtures.seed import Seed, seed
from gateway.sandbox.http.server import BackgroundServer, sandbox_config
from gateway.sandbox.replay import Replay
from gateway.sandbox.rest_api.accounts import PASSWORD, USERNAME, Accounts
from gateway.sandbox.serve import serve
from gateway.sandbox.webhooks import Target, Webhooks

__all__ = [
    "ABSENT",
    "PASSWORD",
    "USERNAME",
    "Accounts",
    "BackgroundServer",
    "Call",
    "Fault",
    "Replay",
    "Sandbox",
    "Seed",
    "Target",
    "Webhooks",
    "faults_of_drift",
    "sandbox_config",
    "seed",
    "serve",
]
