"""The fair queue: in turn over callers, in order within a caller, bounded, and nothing is lost."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.transports.fair_queue import FairQueue

CALLERS = st.sampled_from("ABCD")
ADD, REMOVE, POP, JOIN = "add", "remove", "pop", "join"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(ADD), CALLERS, st.just(0)),
        st.tuples(st.just(REMOVE), st.just(""), st.integers(0, 50)),
        st.tuples(st.just(JOIN), CALLERS, st.integers(0, 50)),
        st.tuples(st.just(POP), st.sampled_from(["", "A", "AB", "ABCD"]), st.just(0)),
    ),
    max_size=120,
)


class Model:
    """What the queue should do, written the slow and obvious way."""

    def __init__(self) -> None:
        self.lines: dict[str, list[int]] = {}

    def add(self, item: int, caller: str) -> None:
        line = self.lines.setdefault(caller, [])
        if item not in line:
            line.append(item)

    def remove(self, item: int) -> None:
        for line in self.lines.values():
            if item in line:
                line.remove(item)
        self.lines = {caller: line for caller, line in self.lines.items() if line}

    def pop(self, passed_over: str = "") -> tuple[int, str] | None:
        for caller in self.lines:
            if caller not in passed_over:
                line = self.lines.pop(caller)
                self.lines[caller] = line
                self.remove(item := line[0])
                return item, caller
        return None

    def ahead(self, caller: str) -> int:
        turns = len(self.lines.get(caller, [])) + 1
        return sum(min(turns, len(line)) for line in self.lines.values())

    @property
    def items(self) -> set[int]:
        return {item for line in self.lines.values() for item in line}


@given(STEPS)
def test_it_serves_as_the_model_does_whatever_is_added_removed_and_joined(steps: list[tuple[str, str, int]]) -> None:
    queue, model, limit = FairQueue[int](12), Model(), 12
    for number, (step, caller, choice) in enumerate(steps):
        waiting = sorted(model.items)
        if step == ADD:
            line = model.lines.get(caller, [])
            room = limit - len(waiting)
            assert queue.has_room(caller) is (room > 0 and len(line) <= 2 * room)
            if queue.has_room(caller):
                queue.add(number, caller)
                model.add(number, caller)
        elif step == REMOVE:
            item = waiting[choice % len(waiting)] if waiting else choice
            queue.remove(item)
            model.remove(item)
        elif step == JOIN and waiting and queue.has_room(caller):
            queue.add(waiting[choice % len(waiting)], caller)
            model.add(waiting[choice % len(waiting)], caller)
        elif step == POP and waiting:
            assert queue.pop(caller) == model.pop(caller)
        assert len(queue) == len(model.items) <= limit
        for each in "ABCD":
            assert queue.ahead(each) == model.ahead(each)
    while model.items:
        assert queue.pop() == model.pop()
    assert len(queue) == 0


@given(st.lists(CALLERS, max_size=40), CALLERS)
def test_no_call_is_served_later_than_expected(callers: list[str], mine: str) -> None:
    """Whatever comes after it, a call is served after at most `ahead` others, and none waits for a longer line."""
    queue: FairQueue[tuple[str, int]] = FairQueue(1000)
    lines: dict[str, int] = defaultdict(int)
    for number, caller in enumerate(callers):
        queue.add((caller, number), caller)
        lines[caller] += 1
    ahead = queue.ahead(mine)
    assert ahead == lines[mine] + sum(min(n, lines[mine] + 1) for caller, n in lines.items() if caller != mine)
    queue.add(last := (mine, -1), mine)
    for number in range(100):
        queue.add(("greedy", number), "greedy")
    served = 0
    while queue.pop() != (last, mine):
        served += 1
    assert served <= ahead + lines[mine] + 1, "one more caller takes one turn in each round"


def test_one_caller_cannot_fill_the_queue() -> None:
    queue: FairQueue[int] = FairQueue(1000)
    number = 0
    while queue.has_room("greedy"):
        queue.add(number := number + 1, "greedy")
    assert 600 < len(queue) < 700
    assert all(queue.has_room(caller) for caller in ("B", "C"))
