"""Caches for work that libraries repeat in almost every test: Hydra merges files, and Alembic imports its scripts."""

import io
import pickle
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ResultDefault
from omegaconf import OmegaConf
from optuna.storages._rdb.storage import _VersionManager


def cache_compositions() -> None:
    """Parse each YAML text once, and merge each list of options with the same contents once.

    Each caller gets a copy of its own. pickle copies a configuration ten times as fast as deepcopy.
    """
    load, merge = OmegaConf.load, ConfigLoaderImpl._compose_config_from_defaults_list
    loaded: dict[str, bytes] = {}
    merged: dict[tuple[Any, ...], bytes] = {}

    def load_once(file: Any) -> Any:
        if not isinstance(file, io.TextIOBase):
            return load(file)
        text = file.read()
        if text not in loaded:
            loaded[text] = pickle.dumps(load(io.StringIO(text)))
        return pickle.loads(loaded[text])

    def merge_once(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> Any:
        parts = []
        for default in defaults:
            part: Any = repo.load_config(default.config_path)
            contents = pickle.dumps((part.header, part.config))  # without its path, so that copied folders share
            parts.append((default.config_path, default.package, default.primary, contents))
        key = tuple(parts)
        if key not in merged:
            merged[key] = pickle.dumps(merge(self, defaults=defaults, repo=repo))
        return pickle.loads(merged[key])

    OmegaConf.load = load_once
    ConfigLoaderImpl._compose_config_from_defaults_list = merge_once


def cache_migration_scripts() -> None:
    """Import Optuna's migration scripts once, not for each storage that is opened."""
    create = _VersionManager._create_alembic_script
    scripts: list[Any] = []

    def create_once(self: _VersionManager) -> Any:
        if not scripts:
            scripts.append(create(self))
        return scripts[0]

    _VersionManager._create_alembic_script = create_once
