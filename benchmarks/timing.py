"""Rounds and their summary. In each round all compared programs run once, so a slow minute affects all of them."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from operator import truediv
from typing import Any

Measure = Callable[[], float]
Samples = dict[str, list[float]]  # name of a program → its value in each round


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


def timed(work: Callable[[], object]) -> Measure:
    def measure() -> float:
        """Return the seconds of one call."""
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def interleave(contenders: Mapping[str, Measure], rounds: int) -> Samples:
    """Run each program once without timing, then once in each of `rounds` rounds. A terminal shows the progress."""
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
    """Return the median over the rounds of `combine` of two values of the same round."""
    return Spread.of(combine(a, b) for a, b in zip(first, second, strict=True))


def fastest(samples: Samples, prefix: str) -> str:
    """Return the name with the lowest median among those that start with `prefix`."""
    return min((name for name in samples if name.startswith(prefix)), key=lambda name: statistics.median(samples[name]))


@dataclass(slots=True, frozen=True)
class Must:
    """An upper or lower limit of a median."""

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
    """Return the exit code: 1 if `check` is true and a limit is missed. The missed limits are printed on stderr."""
    missed = [must for must in musts if not must.kept]
    if check and missed:
        print("missed: " + "; ".join(must.name for must in missed), file=sys.stderr)
        return 1
    return 0
