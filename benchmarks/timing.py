"""Taking turns and summing up: every benchmark compares what was measured in the same minutes, round by round."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from operator import truediv
from typing import Any

Measure = Callable[[], float]
Samples = dict[str, list[float]]  # contender → a value a round


@dataclass(slots=True, frozen=True)
class Spread:
    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form: str = ".2f") -> str:
        return f"{self.median:{form}} [{self.lowest:{form}}–{self.highest:{form}}]"


def timed(turn: Callable[[], object]) -> Measure:
    def measure() -> float:
        """Seconds."""
        start = time.perf_counter()
        turn()
        return time.perf_counter() - start

    return measure


def interleave(contenders: Mapping[str, Measure], rounds: int) -> Samples:
    """One untimed turn for everyone, then `rounds` rounds in which each gets its turn. Terminals see the progress."""
    samples: Samples = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, measure in contenders.items():
            label = f"round {turn}/{rounds}: {name}" if turn else f"warm-up: {name}"
            if sys.stderr.isatty():
                print(f"\r\033[K{label}", end="", file=sys.stderr, flush=True)
            value = measure()
            if turn:
                samples[name].append(value)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return samples


def paired(
    first: Iterable[float], second: Iterable[float], combine: Callable[[float, float], float] = truediv
) -> Spread:
    """The median over rounds of `combine` within a round: load that comes and goes hits both sides of it."""
    return Spread.of(combine(a, b) for a, b in zip(first, second, strict=True))


def fastest(samples: Samples, prefix: str) -> str:
    """The contender with the lowest median among those whose name starts with `prefix`."""
    return min((name for name in samples if name.startswith(prefix)), key=lambda name: statistics.median(samples[name]))


@dataclass(slots=True, frozen=True)
class Must:
    """A limit that a median has to keep."""

    name: str
    value: Spread
    limit: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        return self.value.median >= self.limit if self.at_least else self.value.median <= self.limit

    def text(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{'kept  ' if self.kept else 'MISSED'}  {self.name} {sign} {self.limit:g}: {self.value.text()}"

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "kept": self.kept}


def machine_line(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in environment["versions"].items())
    return (
        f"{environment['processor']}, {environment['threads']} threads; Python {environment['python']}, {versions}; "
        f"commit {environment['git_commit']}{' with changes' if environment['git_dirty'] else ''}"
    )


def verdict(musts: Iterable[Must], *, check: bool) -> int:
    """The exit status: 1 where `check` is wanted and a must is missed; those are then named on stderr."""
    missed = [must for must in musts if not must.kept]
    if check and missed:
        print("missed: " + "; ".join(must.name for must in missed), file=sys.stderr)
        return 1
    return 0
