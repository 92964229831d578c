"""What happens during a soak, in which order, and for which share of its time."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sandbox import ABSENT, Fault
from tests.soak.world import World

_DRIFT = {
    "unheard_of": {"nested": [1, "two", None]},
    "message_count": "many",
    "created_at": ABSENT,
    "tags": None,
    "reminder": ["not", "an", "object"],
}


@dataclass(frozen=True, slots=True)
class Phase:
    """``begin`` is done first, then the load goes on for ``share`` of the time; ``calm``: no error is excused."""

    name: str
    share: float
    begin: Callable[[World], object] = lambda _world: None
    calm: bool = False


def _calm(world: World) -> None:
    world.sandbox.faults.clear()


def _failing(world: World) -> None:
    world.break_upstream(Fault("thread", status=503), Fault("messages", status=500), Fault("customer", drop="before"))


def _partly_failing(world: World) -> None:
    world.break_upstream(*(Fault("thread", f"th-{number}", status=500) for number in range(100, 110)))


def _slow(world: World) -> None:
    world.break_upstream(
        Fault("thread", "th-1", delay=0.5), Fault("messages", delay=1.5), Fault("customer", trickle=0.2)
    )


def _drifting(world: World) -> None:
    html = Fault("customer", body="<html>maintenance</html>", content_type="text/html")
    world.break_upstream(Fault("thread", patch=_DRIFT), Fault("messages", body='{"messages": {"0": 1}}'), html)


def _redis_killed(world: World) -> None:
    _calm(world)
    world.redis.kill()


def _redis_started(world: World) -> None:
    world.redis.start()


def _gateway_killed(world: World) -> None:
    world.gateways[0].end(signal.SIGKILL)


def _gateway_started(world: World) -> None:
    world.gateways[0].start()


def _gateway_rolled(world: World) -> None:
    world.exits.append(world.gateways[0].end(signal.SIGTERM))
    world.gateways[0].start()


PHASES = (
    Phase("warming up", 0.10),
    Phase("calm", 0.10, calm=True),
    Phase("the REST API fails", 0.08, _failing),
    Phase("it fails in part", 0.06, _partly_failing),
    Phase("it is slow", 0.10, _slow),
    Phase("it drifts", 0.10, _drifting),
    Phase("it recovers", 0.06, _calm),
    Phase("Redis is killed", 0.06, _redis_killed),
    Phase("Redis is back", 0.06, _redis_started),
    Phase("a gateway is killed", 0.06, _gateway_killed),
    Phase("it is back", 0.04, _gateway_started),
    Phase("it is rolled", 0.06, _gateway_rolled),
    Phase("calm again", 0.12, _calm, calm=True),
)
