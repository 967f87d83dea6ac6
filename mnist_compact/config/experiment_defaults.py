"""Overriding an option drops the experiment's settings for it.

Otherwise `experiment=m3_logged optim=sgd` would keep Adam's learning rate, and `experiment=m3_logged scheduler=none`
would be an error: Hydra knows which option an experiment chooses, but not that the experiment's values belong to it.
"""

import copy
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import GroupDefault, ResultDefault
from omegaconf import open_dict

from mnist_compact.config.schema import GROUPS


class _FilteredRepository:
    """A repository of configurations in which experiments set values only for the options that they choose."""

    def __init__(self, repository: Any, chosen: dict[str, str]) -> None:
        self.repository = repository
        self.chosen = chosen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)

    def load_config(self, config_path: str) -> Any:
        loaded = self.repository.load_config(config_path)
        if loaded is None or not config_path.startswith("experiment/"):
            return loaded
        intended = _options(self.repository.load_config("config")) | _options(loaded)
        filtered = copy.deepcopy(loaded)  # the repository caches the original for the next run of a grid
        with open_dict(filtered.config):
            for group, option in self.chosen.items():
                if option != intended.get(group, option):
                    filtered.config.pop(group, None)
        return filtered


def _options(loaded: Any) -> dict[str, str]:
    """Return the option of each group in a defaults list."""
    defaults = (loaded.defaults_list if loaded else None) or []
    return {
        default.group.removeprefix("/"): default.value
        for default in defaults
        if isinstance(default, GroupDefault) and default.group and isinstance(default.value, str)
    }


def register() -> None:
    """Apply this rule to every composition. Hydra has no public hook for it, so a method is replaced."""
    compose = ConfigLoaderImpl._compose_config_from_defaults_list
    if compose.__module__ == __name__:
        return

    def composed(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: Any) -> Any:
        options = [default.config_path.split("/") for default in defaults if default.config_path]
        chosen = {option[0]: option[1] for option in options if len(option) == 2 and option[0] in GROUPS}
        return compose(self, defaults=defaults, repo=cast("IConfigRepository", _FilteredRepository(repo, chosen)))

    ConfigLoaderImpl._compose_config_from_defaults_list = composed  # type: ignore[method-assign]
