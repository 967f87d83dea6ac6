"""Replay both sweepers on recorded curves with a simulated clock.

The stock sweeper, like `OptunaSweeperImpl.sweep` of hydra-optuna-sweeper, asks for one trial per worker, trains them
completely, waits for all of them, and tells their results in the order of the trials. Ours, like
`mnist_compact.search.worker`, asks for a trial as soon as a worker is free, reports scores after every epoch, and may
prune a trial after any epoch but its last. Sampler, space and pruner are the real ones; only training is simulated.
The overhead of a trial (see `real.py`) is left out on both sides.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from mnist_compact.search.builders import WHITELIST, pruner_of, sampler_of, space_of
from mnist_compact.search.snapshot import ConfigSnapshot


class Recording(Protocol):
    """The recorded curve of a trial."""

    @property
    def accuracies(self) -> Sequence[float]: ...
    @property
    def epoch_s(self) -> float: ...


Play = Callable[[list[str]], Recording | None]  # a proposal's overrides → its curve; None if no curve is left


@dataclass(slots=True, frozen=True)
class Cost:
    """The cost until an event: epochs trained by all workers, and seconds on the simulated clock."""

    epochs: int
    seconds: float


@dataclass(slots=True, frozen=True)
class Completed:
    at_s: float
    score: float


@dataclass(slots=True, frozen=True)
class Replay:
    epoch_ends: tuple[float, ...]  # the ends of all epochs of all trials, s
    completed: tuple[Completed, ...]
    trials: int  # number of started trials
    found: tuple[FrozenTrial, ...] = ()  # the complete trials

    def best_of(self, trials: int) -> float:
        """Return the best score of the first `trials` complete trials."""
        return max(done.score for done in self.completed[:trials])

    def until(self, score: float) -> Cost | None:
        """Return the cost until a complete trial first reached this score, including the epochs of all other trials."""
        moments = [done.at_s for done in self.completed if done.score >= score]
        if not moments:
            return None
        first = min(moments)
        return Cost(sum(end <= first for end in self.epoch_ends), first)


def with_barrier(snapshot: ConfigSnapshot, play: Play, *, seed: int, workers: int, trials: int) -> Replay:
    """Replay the stock sweeper for `trials` trials."""
    space, study = space_of(snapshot), new_study(seed)
    study.sampler = stock_sampler(snapshot, seed)
    ends: list[float] = []
    completed: list[Completed] = []
    clock = 0.0
    for first in range(0, trials, workers):
        batch = [study.ask() for _ in range(min(workers, trials - first))]
        curves = [curve for trial in batch if (curve := play(space.suggest(trial, _nothing)))]
        assert len(curves) == len(batch)
        for trial, curve in zip(batch, curves, strict=True):
            moments = [clock + epoch * curve.epoch_s for epoch in range(1, len(curve.accuracies) + 1)]
            ends += moments
            completed.append(Completed(moments[-1], curve.accuracies[-1]))
            study.tell(trial, curve.accuracies[-1])
        clock = max(done.at_s for done in completed[-len(batch) :])
    return Replay(tuple(ends), tuple(completed), trials)


@dataclass(slots=True)
class Running:
    trial: Trial
    curve: Recording
    start_s: float
    epoch: int = 1  # the current epoch

    @property
    def epoch_end_s(self) -> float:
        return self.start_s + self.epoch * self.curve.epoch_s


def without_barrier(
    snapshot: ConfigSnapshot,
    play: Play,
    *,
    seed: int,
    workers: int,
    target: float,
    most_epochs: int,
    prior: Sequence[FrozenTrial] = (),
) -> Replay:
    """Replay this package's search until a complete trial reaches the target, or `most_epochs` have been trained.

    The replay also ends when no curve is left. The sampler learns from the prior trials, as with `hydra.sweeper.prior`.
    """
    space, pruner, study = space_of(snapshot), pruner_of(snapshot), new_study(seed)
    seeded: ConfigSnapshot = {**snapshot, "settings": {**snapshot["settings"], "seed": seed}}
    ends: list[float] = []
    completed: list[Completed] = []
    queue: list[tuple[float, int, Running]] = []  # sorted by the end of the current epoch

    def begin(moment: float) -> None:
        study.sampler = sampler_of(seeded, str(len(study.trials)), prior)  # a new one for every trial, as in `Proposer`
        trial = study.ask()
        curve = play(space.suggest(trial, _nothing))
        if curve is not None:
            running = Running(trial, curve, moment)
            heapq.heappush(queue, (running.epoch_end_s, trial.number, running))

    for _ in range(workers):
        begin(0.0)
    while queue and len(ends) < most_epochs:
        moment, number, running = heapq.heappop(queue)
        ends.append(moment)
        score = running.curve.accuracies[running.epoch - 1]
        study._storage.set_trial_intermediate_value(running.trial._trial_id, running.epoch, score)
        if running.epoch == len(running.curve.accuracies):
            study.tell(number, score)
            completed.append(Completed(moment, score))
            if score >= target:
                break
            begin(moment)
        elif pruner.prune(study, study._storage.get_trial(running.trial._trial_id)):
            study.tell(number, state=TrialState.PRUNED)
            begin(moment)
        else:
            running.epoch += 1
            heapq.heappush(queue, (running.epoch_end_s, number, running))
    found = tuple(study.get_trials(states=(TrialState.COMPLETE,)))
    return Replay(tuple(ends), tuple(completed), len(study.trials), found)


def new_study(seed: int) -> Study:
    """Create a study in memory, with a name, because Hyperband chooses a trial's bracket by the study's name."""
    return optuna.create_study(study_name=f"replay {seed}", direction="maximize")


def stock_sampler(snapshot: ConfigSnapshot, seed: int) -> BaseSampler:
    """Return Optuna's own sampler, one for the whole search, as the stock sweeper has it."""
    node = {**snapshot["settings"]["sampler"], "seed": random.Random(seed).getrandbits(31)}
    sampler: BaseSampler = instantiate(OmegaConf.create(node), _execution_whitelist_=WHITELIST)
    return sampler


def _nothing(key: str) -> Any:
    """Return the value of a key outside the space, on which no branch of the question depends."""
    return None
