"""Training, confirmation and re-ranking from Python; the commands do the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.confirmation.defaults import FOLDER, RANKED_TRIALS, RANKING_SEEDS, SEEDS
from mnist_compact.search.locate import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.callbacks.callback import Callback
    from mnist_compact.config.schema import RunConfig
    from mnist_compact.confirmation.reranking import Ranking
    from mnist_compact.confirmation.results import SeedResults
    from mnist_compact.records.record import RunRecord


def train(config: "RunConfig", folder: Path | str, *, callbacks: "Sequence[Callback | str]" = ()) -> "RunRecord":
    """Train a configuration from the start into a new run folder, and draw its curves.

    Nothing is printed unless a callback does it. torch's random state, its number of threads and its flush-to-zero
    mode are restored afterwards.

    Args:
        config: What to train, for instance from `compose`.
        folder: The run folder. It must not hold a run already.
        callbacks: Observers of the run, each a `Callback`, "tensorboard", "mlflow" or the import path of a subclass of
            `Callback`, such as "my_module.MyCallback". An error of a callback is printed and never aborts the run. The
            run folder stores those that are given by name, so that a continuation has them again.

    Returns:
        The record of the run, which is also in `folder` with all other files of a run. Its status is `diverged` if the
        loss became infinite or NaN.

    Raises:
        ConfigError: The configuration cannot run, a callback cannot be imported, or the folder holds a run. Nothing is
            written then.
        KeyboardInterrupt: Ctrl-C was pressed. The status of the record is `interrupted`, and
            `python -m mnist_compact resume=<folder>` continues the run.

    Example:
        >>> record = train(compose("model=m3", "optim=adam"), "outputs/runs/mine")  # doctest: +SKIP
    """
    from contextlib import closing

    from mnist_compact.callbacks.callback import CallbackList, SafeCallback
    from mnist_compact.callbacks.config import build_callbacks, named_callbacks
    from mnist_compact.records.record import Status
    from mnist_compact.reports.plots import draw_run
    from mnist_compact.runs.trainer import run

    folder = Path(folder)
    objects = [SafeCallback(type(each).__name__, each) for each in callbacks if not isinstance(each, str)]
    named = named_callbacks([each for each in callbacks if isinstance(each, str)])
    with closing(CallbackList(*objects, *build_callbacks(named, folder))) as callback:
        record = run(config, folder, callback)
    if record.status is Status.INTERRUPTED:
        raise KeyboardInterrupt(record.reason)
    if record.epochs_done:
        draw_run(folder)
    return record


def confirm(
    config: "RunConfig | None" = None,
    *,
    run: str | Path | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    seeds: int = SEEDS,
    split: str = "test",
    threshold: float = THRESHOLD,
    jobs: int = 0,
    stop_early: bool = False,
    plan: str | Path | None = None,
    name: str | None = None,
    folder: str | Path = FOLDER,
    sweeps: str | Path = SWEEPS,
    storage: str | None = None,
    callbacks: Sequence[str] = (),
) -> "SeedResults":
    """Train one configuration with fresh seeds, as `python -m mnist_compact.confirm` does.

    Calling it again with the same arguments continues after an interruption.

    Args:
        config: The configuration. Give exactly one of `config`, `run`, `trial` and `experiment`.
        run: The run folder whose configuration is confirmed.
        trial: A trial of a study, as "STUDY:N".
        experiment: The name of a file in `conf/experiment`.
        seeds: Number of seeds.
        split: The images that are scored: test, holdout or synthetic.
        threshold: Accuracy in per cent that the mean is compared with.
        jobs: Number of processes side by side; 0 means one for each core.
        stop_early: Stop when the result is significant or futile. Requires the default number of seeds.
        plan: A preregistration that `python -m mnist_compact.confirm --plan` wrote. The results state whether it was
            followed.
        name: Name of the confirmation; by default it is derived from its source.
        folder: Folder of all confirmations.
        sweeps: Folder of all studies.
        storage: Optuna URL of the study, or journal:///path.
        callbacks: Callbacks of every seed's run, each "tensorboard", "mlflow" or the import path of a subclass of
            `Callback`, such as "my_module.MyCallback": every seed is trained by a process of its own.

    Returns:
        The results of all seeds that have ended.

    Raises:
        ConfigError: An argument is invalid, or the folder holds another confirmation.
        ExecutionError: Some seeds could not be trained.

    Example:
        >>> results = confirm(experiment="under_8k")  # doctest: +SKIP
        >>> print(results.conclusion())  # doctest: +SKIP
    """
    from mnist_compact.callbacks.config import named_callbacks
    from mnist_compact.common.errors import EXIT_FAILED, ExecutionError
    from mnist_compact.confirmation.conduct import ConfirmSpec, conduct, prepare
    from mnist_compact.confirmation.preregistration import Preregistration
    from mnist_compact.confirmation.sources import of

    named_callbacks(callbacks)  # checked before any seed is trained
    source = of(config=config, run=run, trial=trial, experiment=experiment, sweeps=Path(sweeps), url=storage)
    path, confirmation = prepare(source, split, Path(folder), name)
    spec = ConfirmSpec(
        folder=path,
        confirmation=confirmation,
        count=seeds,
        threshold=threshold,
        stop_early=stop_early,
        callbacks=callbacks,
    )
    results, errors = conduct(spec, jobs, None if plan is None else Preregistration.read(Path(plan)))
    if errors:
        raise ExecutionError("\n".join(errors), EXIT_FAILED)
    return results


def rank(
    study: str | Sequence[str],
    *,
    top: int = RANKED_TRIALS,
    seeds: int = RANKING_SEEDS,
    by: str = "accuracy",
    split: str | None = None,
    threshold: float = THRESHOLD,
    jobs: int = 0,
    folder: str | Path = FOLDER,
    sweeps: str | Path = SWEEPS,
    storage: str | None = None,
    callbacks: Sequence[str] = (),
) -> "Ranking":
    """Rank the best trials of studies over several seeds, as `python -m mnist_compact.confirm --study` does.

    Every round keeps half of the candidates and doubles their seeds. `confirm(trial=ranking.trial)` confirms the
    winner. Calling it again with the same arguments continues after an interruption.

    Args:
        study: Name of the study, or the path of an exported study; or several of them, to rank their trials together.
        top: Number of trials to begin with.
        seeds: Seeds of each candidate in the first round.
        by: What the candidates are sorted by: "accuracy", or "calibrated_loss", which differs less from seed to seed.
        split: The images that are scored: holdout or synthetic; None = synthetic for a study of such images, otherwise
            holdout. The test images must not be used for a choice.
        threshold: Accuracy in per cent that the tables count seeds above.
        jobs: Number of processes side by side; 0 means one for each core.
        folder: Folder of all confirmations.
        sweeps: Folder of all studies.
        storage: Optuna URL of the study, or journal:///path.
        callbacks: Callbacks of every seed's run, each "tensorboard", "mlflow" or the import path of a subclass of
            `Callback`, such as "my_module.MyCallback": every seed is trained by a process of its own.

    Returns:
        All rounds of the ranking.

    Raises:
        ConfigError: An argument is invalid, or the study does not exist.
        ExecutionError: Some seeds could not be trained.
    """
    from mnist_compact.callbacks.config import named_callbacks
    from mnist_compact.confirmation.reranking import Ranking, rank_studies

    named_callbacks(callbacks)  # checked before any seed is trained
    rounds = rank_studies(
        [study] if isinstance(study, str) else study,
        top=top,
        seeds=seeds,
        by=by,
        split=split,
        threshold=threshold,
        jobs=jobs,
        confirmations=Path(folder),
        sweeps=Path(sweeps),
        url=storage,
        callbacks=callbacks,
    )
    return Ranking([*rounds])
