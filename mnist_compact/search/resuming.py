"""`resume=<study folder>`: continue a study from its config snapshot, whatever conf/ and sweeps/ contain now."""

from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.study import Study

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.registration import register
from mnist_compact.config.schema import configuration_folder
from mnist_compact.config.sweeper import CONTINUABLE
from mnist_compact.records.settings import is_machines
from mnist_compact.search.coordinator import Coordinator, SearchResult, View
from mnist_compact.search.locate import storage_of
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.snapshot import ConfigSnapshot
from mnist_compact.search.status import CRITERIA
from mnist_compact.search.transfer import load

SWEEPER = "hydra.sweeper."


def resume_study(folder: Path, given: dict[str, str], view_class: type[View]) -> SearchResult:
    """Continue the search whose trials lie in `folder`.

    Args:
        folder: The study's folder; its name is the study's name.
        given: Override key → value. `machine` and the settings of `hydra.sweeper` that may differ when a study is
            continued are accepted. Missing settings keep the values of the last search on this study.
        view_class: Displays the progress of the search.

    Returns:
        The result of the search.

    Raises:
        ConfigError: The study does not exist, was not created by this program, or `given` changes what it searches.
    """
    home = folder.resolve()
    refused = sorted(key for key in given if not is_machines(key) and key.removeprefix(SWEEPER) not in CONTINUABLE)
    if refused:
        allowed = ", ".join(sorted(CONTINUABLE))
        raise ConfigError(
            [f"resume=<study folder> accepts only machine and hydra.sweeper.{{{allowed}}}, got {', '.join(refused)}"]
        )
    with storage_of(home.name, folder.parent, given.get(f"{SWEEPER}storage")) as storage:
        study = load(storage, home.name)
        snapshot, settings = _snapshot_of(study, folder), study.user_attrs.get(CRITERIA, {})
    stored = {f"{SWEEPER}{key}": value for key, value in settings.items() if key in CONTINUABLE}
    if f"{SWEEPER}n_trials" not in stored | given:
        raise ConfigError([f"{SWEEPER}n_trials must be given, because the study {home.name} does not store it"])
    config = _composed([f"{key}={'null' if value is None else value}" for key, value in (stored | given).items()])
    added: Any = OmegaConf.to_container(config.hydra.sweeper.enqueue, resolve=True)
    snapshot["settings"] = {**snapshot["settings"], "enqueue": [*snapshot["settings"]["enqueue"], *added]}
    with open_dict(config):
        config.hydra.sweeper.study_name, config.hydra.sweeper.folder = home.name, str(folder.parent)
        config.hydra.sweeper.objectives = snapshot["settings"]["objectives"]
    return Coordinator(config, [], snapshot).search(view_class)


def _snapshot_of(study: Study, folder: Path) -> ConfigSnapshot:
    attributes = study.user_attrs
    if "frozen" not in attributes or not attributes.get("founded"):
        raise ConfigError([f"{folder} does not contain a study that this program has created"])
    return migrate_snapshot(attributes["frozen"])


def _composed(arguments: list[str]) -> DictConfig:
    """Compose the current conf/ for the settings of this machine and this call."""
    register()
    previous = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(configuration_folder())):
            overrides = ["hydra/sweeper=compact", *arguments]
            return hydra.compose("config", overrides=overrides, return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = previous
