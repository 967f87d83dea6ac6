"""One configuration over fresh seeds: how good it is on average, and how sure that is.

`mnist_compact.confirm` is the room and the command, and can be called besides: what the command does, in a notebook.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mnist_compact.results.summary import BAR
from mnist_compact.studies.places import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.config import RunConfig
    from mnist_compact.confirm.evidence import Evidence
    from mnist_compact.confirm.ranking import Ranking

FOLDER = "outputs/confirmations"
SEEDS = 20
TOP, SEEDS_OF_A_RANKING = 12, 1


class Confirm(ModuleType):
    """This package: a name that is imported as both cannot be a function."""

    def __call__(
        self,
        config: "RunConfig | None" = None,
        *,
        run: str | Path | None = None,
        trial: str | None = None,
        experiment: str | None = None,
        seeds: int = SEEDS,
        split: str = "test",
        bar: float = BAR,
        jobs: int = 0,
        stop_early: bool = False,
        plan: str | Path | None = None,
        name: str | None = None,
        folder: str | Path = FOLDER,
        sweeps: str | Path = SWEEPS,
        storage: str | None = None,
    ) -> "Evidence":
        """Train a configuration, or that of a run folder, a trial ("STUDY:N") or a named experiment, with fresh seeds.

        As `python -m mnist_compact.confirm`, whose options the arguments are; `plan` is a file that it has written.
        The same call goes on after an interruption. Raises ConfigError for what cannot be done, WorkFault where seeds
        could not be trained.
        """
        from mnist_compact.confirm.conduct import Question, conduct, place
        from mnist_compact.confirm.plans import Plan
        from mnist_compact.confirm.sources import of
        from mnist_compact.faults import EXIT_FAILED, WorkFault

        source = of(config=config, run=run, trial=trial, experiment=experiment, sweeps=Path(sweeps), url=storage)
        where, confirmation = place(source, split, Path(folder), name)
        question = Question(folder=where, confirmation=confirmation, count=seeds, bar=bar, stop_early=stop_early)
        evidence, faults = conduct(question, jobs, None if plan is None else Plan.read(Path(plan)))
        if faults:
            raise WorkFault("\n".join(faults), EXIT_FAILED)
        return evidence

    def rank(
        self,
        study: str,
        *,
        top: int = TOP,
        seeds: int = SEEDS_OF_A_RANKING,
        split: str = "holdout",
        bar: float = BAR,
        jobs: int = 0,
        folder: str | Path = FOLDER,
        sweeps: str | Path = SWEEPS,
        storage: str | None = None,
    ) -> "Ranking":
        """Rank a study's best again, in rounds, each with half the candidates and twice the seeds of the one before.

        As `python -m mnist_compact.confirm --study`; `confirm(trial=ranking.trial)` confirms the first. The same call
        goes on after an interruption. Raises ConfigError for what cannot be done, WorkFault as `--study` fails.
        """
        from mnist_compact.confirm.ranking import Ranking, rank_study

        places = {"among": Path(folder), "sweeps": Path(sweeps)}
        rounds = rank_study(study, top=top, seeds=seeds, split=split, bar=bar, jobs=jobs, url=storage, **places)
        return Ranking(study, [*rounds])


sys.modules[__name__].__class__ = Confirm
