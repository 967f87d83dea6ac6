"""Saving a confirmed configuration as a named experiment: a file of overrides whose header states the results."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import flat
from mnist_compact.common.statistics import minutes_text, threshold_text
from mnist_compact.config.composition import compose, options_of
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import GROUPS, RunConfig, configuration_folder, to_record
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.records.settings import MACHINE


def experiment_path(name: str, folder: Path | None = None) -> Path:
    """Return the file of a new experiment: `folder`/`name`.yaml (default folder: conf/experiment).

    Raises:
        ConfigError: The name has other characters than letters, digits, - and _, or the file exists.
    """
    check_name("--save", name)
    path = (folder or configuration_folder() / "experiment") / f"{name}.yaml"
    check_free(path)
    return path


def check_name(option: str, name: str) -> None:
    """Check that a name has only letters, digits, - and _, so that it can be typed and names no other folder.

    Raises:
        ConfigError: It has other characters.
    """
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ConfigError([f"{option} must be a name of letters, digits, - and _, got {name!r}"])


def check_free(path: Path, hint: str = "") -> None:
    """Check that a path does not exist.

    Args:
        path: The path.
        hint: Text that is added to the error message.

    Raises:
        ConfigError: It exists.
    """
    if path.exists():
        raise ConfigError([f"{path} exists already{hint}"])


def save(seed_results: SeedResults, name: str, folder: Path | None = None) -> Path:
    """Write a file so that experiment=`name` is the confirmed configuration.

    The experiment does not set the data, unless the configuration was confirmed on the test images of another data set
    than the default. A file in conf/experiment is composed once to check that it gives the same configuration.

    Args:
        seed_results: The results of the confirmation.
        name: Name of the experiment.
        folder: Folder of the file; by default conf/experiment.

    Returns:
        The path of the file.

    Raises:
        ConfigError: The name is not allowed, the file exists, or the options in conf/ cannot express the configuration.
            No file is left then.
    """
    path = experiment_path(name, folder)
    run = _by_present_options(from_record(seed_results.confirmation.config))
    choices, changes = deltas(run)
    lines = [
        "# @package _global_",
        *(f"# {' '.join(line.split())}" for line in header(seed_results)),  # folder names may have line breaks
        "defaults:",
        *(f"  - override /{group}: {option}" for group, option in choices.items()),
        f"experiment: {name}",
    ]
    body = yaml.safe_dump(_nested(changes), sort_keys=False, allow_unicode=True) if changes else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n" + body, encoding="utf-8")
    if folder is None:
        try:
            _check_saved(name, run)
        except ConfigError:
            path.unlink()
            raise
    return path


def header(seed_results: SeedResults) -> list[str]:
    """Return the lines of the comment at the top of a saved experiment, without `#`."""
    summary, results = seed_results.summary(), seed_results.completed
    spread = "" if summary.sd is None else f" ± {summary.sd:.3f}"
    interval = ""
    if summary.low is not None:
        interval = f", 95 % interval of the mean {summary.low:.3f}–{summary.high:.3f}{summary.caution}"
    requested = len(seed_results.requested)
    diverged = f", while {seed_results.failed} of {requested} diverged" if seed_results.failed else ""
    return [
        f"{seed_results.confirmation.split} accuracy {summary.mean:.3f}{spread} % (mean ± sd of {summary.n} fresh seeds"
        f"{diverged}, last epoch, {seed_results.weights} weights)",
        f"lowest {summary.minimum:.2f}, highest {summary.maximum:.2f}{interval}; "
        f"{seed_results.above()} of {requested} seeds above {threshold_text(seed_results.threshold)}",
        f"{results[0].parameters:,} parameters; a run takes {minutes_text(seed_results.minutes())}; "
        f"from {seed_results.confirmation.source}",
        *seed_results.notes(),
    ]


def deltas(run: RunConfig) -> tuple[dict[str, str], dict[str, Any]]:
    """Express a configuration as overrides of the defaults.

    The machine is left out, and so is the data unless its images are test images.

    Args:
        run: The configuration.

    Returns:
        The option of each group that is not the default, and the value of each key that differs from the options.

    Raises:
        ConfigError: conf/ has no such option.
    """
    defaults = options_of()
    groups = [group for group in GROUPS if group != MACHINE and (group != "data" or run.data.role == "test")]
    options = {group: getattr(run, group).name for group in groups}
    choices = {group: option for group, option in options.items() if option != defaults[group]}
    chosen = compose(*(f"{group}={option}" for group, option in choices.items()))
    expected, given = flat(to_record(run)), flat(to_record(chosen))
    changes = {
        key: value
        for key, value in expected.items()
        if key not in given or value != given[key]
        if key.partition(".")[0] in options
    }
    return choices, changes


def _by_present_options(run: RunConfig) -> RunConfig:
    """Return a configuration whose model names an option of its kind.

    The option `stages` was once of the kind `compact`. Such a configuration is saved as changes of `compact`.
    """
    model = run.model
    if type(compose(f"model={model.name}").model) is type(model):
        return run
    return dataclasses.replace(run, model=dataclasses.replace(model, name=to_record(run)["model"]["kind"]))


def _check_saved(name: str, run: RunConfig) -> None:
    """Raise ConfigError unless experiment=`name` gives `run`, apart from the seed, the data and the machine."""
    saved = compose(f"experiment={name}")
    data = run.data if run.data.role == "test" else saved.data
    expected = dataclasses.replace(run, data=data, machine=saved.machine, seed=saved.seed, experiment=name)
    actual, expected_settings = flat(to_record(saved)), flat(to_record(expected))
    differing = [key for key in expected_settings if actual.get(key) != expected_settings[key]]
    if differing:
        raise ConfigError(
            [f"experiment={name} would give another configuration; these keys differ: {', '.join(differing)}"]
        )


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree
