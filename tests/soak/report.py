"""What a soak came to: counts by phase, memory, and the promises that were broken."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median, quantiles

from tests.soak.callers import Answer
from tests.soak.phases import PHASES

# A gateway that leaks a kilobyte with each request grows by this within a minute of this load.
_GROWTH = 12.0  # MiB
_MOST_EXAMPLES = 5
# One gateway is killed once, in the midst of whatever it does: one request of each caller at most.
_MOST_CUT_OFF = 11


@dataclass(slots=True)
class Soak:
    """Everything that was seen."""

    answers: list[Answer] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """Of the gateway that runs all the time, sampled at even distances, in MiB."""
    tracebacks: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)

    def broken(self) -> list[str]:
        """Return one line for each promise that was not kept."""
        failures = Counter((each.phase, each.broken) for each in self.answers if each.broken)
        lines = [f"{count} x {what} ({phase})" for (phase, what), count in failures.items()]
        if self.cut_off() > _MOST_CUT_OFF:
            lines.append(f"{self.cut_off()} answers were cut off")
        calm = {phase.name for phase in PHASES if phase.calm}
        errors = Counter(each.codes for each in self.answers if each.phase in calm and each.codes)
        del errors[("UNAUTHENTICATED",)]  # the caller with the wrong password
        lines += [f"{count} x {codes} while all was well" for codes, count in errors.items()]
        silent = [phase.name for phase in PHASES if not any(each.phase == phase.name for each in self.answers)]
        lines += [f"nobody was answered while: {name}" for name in silent]
        lines += [f"in a gateway's log: {line[:300]}" for line in self.tracebacks[:_MOST_EXAMPLES]]
        lines += [f"a gateway that was told to stop ended with {status}" for status in self.exits if status]
        if self.growth() > _GROWTH:
            lines.append(f"memory grew by {self.growth():.1f} MiB")
        return lines

    def cut_off(self) -> int:
        """Return how many answers ended in the middle."""
        return sum(each.cut_off for each in self.answers)

    def growth(self) -> float:
        """Return by how much the memory's median of the last fifth is above that of the third: past warming up."""
        fifth = len(self.memory) // 5
        if not fifth:
            return 0.0
        return median(self.memory[-fifth:]) - median(self.memory[2 * fifth : 3 * fifth])

    def lines(self) -> list[str]:
        """Return the report."""
        return [
            f"{'phase':22}{'answers':>9}{'well':>8}{'stale':>7}{'p50 ms':>8}{'p99 ms':>8}  errors",
            *(self._line(phase.name, [each for each in self.answers if each.phase == phase.name]) for phase in PHASES),
            self._line("all", self.answers),
            f"memory {self.memory[0]:.0f} MiB at first, {max(self.memory):.0f} at most, {self.memory[-1]:.0f} at last",
            f"growth {self.growth():+.1f} MiB; told to stop, the gateways ended with {self.exits}",
            f"{self.cut_off()} answers were cut off, of those that the killed gateway was working on",
        ]

    @staticmethod
    def _line(name: str, answers: list[Answer]) -> str:
        codes = Counter(code for each in answers for code in each.codes)
        well = sum(not each.codes and not each.broken and not each.cut_off for each in answers)
        stale = sum(each.stale for each in answers)
        times = quantiles((each.seconds * 1000 for each in answers), n=100) if len(answers) > 1 else [0.0] * 99
        said = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        return f"{name:22}{len(answers):9}{well:8}{stale:7}{times[49]:8.0f}{times[98]:8.0f}  {said}"
