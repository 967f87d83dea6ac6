"""Do short schedules foretell the final score? `python -m benchmarks.short_schedules FILE … [--epochs 2 5]`.

Every complete trial of the exported studies is trained again to the end of shorter schedules of its own, with another
seed, and scored on the same held-out images. The benchmark prints Spearman's rank correlation of these scores with the
final accuracy of the trials, beside that of the accuracies which the trials had at the same epochs of their long
schedules. Finished runs are kept in the folder, so that an interrupted benchmark continues.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from optuna.trial import FrozenTrial

from benchmarks.timing import machine_line
from mnist_compact.common.errors import ConfigError
from mnist_compact.config.schema import RunConfig
from mnist_compact.confirmation import seed_pool
from mnist_compact.confirmation.conduct import prepare
from mnist_compact.confirmation.confirmation import create_or_load
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.sources import ConfirmSource, of_trials
from mnist_compact.search.locate import SWEEPS, from_file
from mnist_compact.search.summary import best_trained, objectives
from mnist_compact.training.device import describe_environment

FOLDER = Path("outputs/short_schedules")
RESAMPLES = 2000
FEWEST = 5  # points without which no correlation is printed


def shortened(run: RunConfig, epochs: int) -> RunConfig:
    """Return the configuration with a schedule of `epochs` epochs.

    The epochs over which weights are averaged and the augmentation is eased off are shortened in proportion.
    """

    def scaled(number: int) -> int:
        return math.ceil(number * epochs / run.train.epochs)

    train = dataclasses.replace(run.train, epochs=epochs, average_epochs=scaled(run.train.average_epochs))
    augment = dataclasses.replace(run.augment, ease_off_epochs=scaled(run.augment.ease_off_epochs))
    return dataclasses.replace(run, train=train, augment=augment)


def points(files: Sequence[Path], most: int | None) -> list[tuple[ConfirmSource, FrozenTrial]]:
    """Return the configurations and trials of all complete trials, the first `most` of them by study and number.

    Raises:
        ConfigError: A file is not an exported study, or its objective is not the accuracy.
    """
    found: list[tuple[ConfirmSource, FrozenTrial]] = []
    for file in files:
        study = from_file(file)
        if objectives(study) != ["accuracy"]:
            raise ConfigError([f"{file} must be a study of the accuracy, got {', '.join(objectives(study))}"])
        trials = sorted(best_trained(study), key=lambda trial: trial.number)
        found += zip(of_trials(str(file), [trial.number for trial in trials], Path(SWEEPS)), trials, strict=True)
    return found[:most]


def train(sources: Mapping[str, ConfirmSource], epochs: int, folder: Path, jobs: int) -> pd.DataFrame:
    """Train each point to the end of a short schedule; one row of scores per point, and none if it diverged."""
    requested = {}
    for name, source in sources.items():
        short = dataclasses.replace(source, run=shortened(source.run, epochs))
        home, confirmation = prepare(short, short.run.data.role, folder, f"{name}-{epochs}-epochs")
        create_or_load(confirmation, home)
        requested[name] = (home, confirmation.seeds(1))
    errors = seed_pool.train(requested.values(), jobs)
    if errors:
        raise SystemExit("\n".join(errors))
    rows = {}
    for name, (home, seeds) in requested.items():
        score = SeedResults.gather(home, seeds).seeds[0].score
        if score is not None:
            rows[name] = {"accuracy": score.accuracy, "log-loss": -score.loss}
            if score.calibrated_loss is not None:
                rows[name]["calibrated log-loss"] = -score.calibrated_loss
    return pd.DataFrame.from_dict(rows, orient="index")


def correlation(scores: "pd.Series[float]", final: "pd.Series[float]") -> dict[str, float] | None:
    """Return Spearman's rank correlation with a 95 % interval by resampling the points; None for too few points."""
    pairs = pd.concat([scores, final], axis=1, join="inner").dropna().to_numpy()
    if len(pairs) < FEWEST:
        return None
    generator = np.random.default_rng(0)
    drawn = [_spearman(pairs[generator.integers(len(pairs), size=len(pairs))]) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return {"n": len(pairs), "correlation": _spearman(pairs), "low": float(low), "high": float(high)}


def _spearman(pairs: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    ranks = pd.DataFrame(pairs).rank()
    return float(ranks[0].corr(ranks[1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.short_schedules", description="Measure what short schedules foretell."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="exported studies of one search question")
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 5], metavar="N", help="lengths of the schedules")
    parser.add_argument("--points", type=int, metavar="N", help="train only the first N points")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes side by side; 0 = one a core")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = points(options.files, options.points)
    except ConfigError as error:
        parser.error(str(error))
    final = pd.Series({source.name: trial.values[0] for source, trial in found})
    sources = {source.name: source for source, _ in found}
    results = []
    for epochs in options.epochs:
        at_epoch = {source.name: trial.intermediate_values.get(epochs, math.nan) for source, trial in found}
        scores = {"the long schedule, accuracy": pd.Series(at_epoch)}
        short = train(sources, epochs, options.folder, options.jobs)
        scores |= {f"its own schedule, {name}": short[name] for name in short}
        results += [
            {"epochs": epochs, "score": name, **(correlation(column, final) or {})} for name, column in scores.items()
        ]
    environment = describe_environment(torch.device("cpu"))
    if options.json:
        print(json.dumps({"environment": environment, "correlations": results}, indent=2, ensure_ascii=False))
        return 0
    print(machine_line(environment))
    print(f"rank correlation with the final accuracy of {len(final)} trials; 95 % bootstrap interval")
    print(f"{'epochs':>6}  {'score at the end of':40}  {'n':>3}  correlation")
    for row in results:
        text = f"{row['correlation']:5.2f} [{row['low']:.2f}–{row['high']:.2f}]" if "n" in row else "too few points"
        print(f"{row['epochs']:6}  {row['score']:40}  {row.get('n', 0):3}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
