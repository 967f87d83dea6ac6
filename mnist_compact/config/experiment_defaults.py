"""What an experiment sets for an option goes when another option takes that one's place.

Otherwise `experiment=m3_logged optim=sgd` keeps Adam's rate, and `experiment=m3_logged scheduler=none` is not composed:
Hydra knows which option an experiment has chosen, not that the values beside it are meant for it.
"""

import copy
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import GroupDefault, ResultDefault
from omegaconf import open_dict

from mnist_compact.config.schema import GROUPS


class _Fitting:
    """A repository of configurations, whose experiments set nothing for options that are not theirs."""

    def __init__(self, repository: Any, chosen: dict[str, str]) -> None:
        self.repository = repository
        self.chosen = chosen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)

    def load_config(self, config_path: str) -> Any:
        loaded = self.repository.load_config(config_path)
        if loaded is None or not config_path.startswith("experiment/"):
            return loaded
        meant = _options(self.repository.load_config("config")) | _options(loaded)
        fitting = copy.deepcopy(loaded)  # the repository keeps its own for the next member of a grid
        with open_dict(fitting.config):
            for group, option in self.chosen.items():
                if option != meant.get(group, option):
                    fitting.config.pop(group, None)
        return fitting


def _options(loaded: Any) -> dict[str, str]:
    """Group → option, of a defaults list."""
    defaults = (loaded.defaults_list if loaded else None) or []
    return {
        default.group.removeprefix("/"): default.value
        for default in defaults
        if isinstance(default, GroupDefault) and default.group and isinstance(default.value, str)
    }


def register() -> None:
    """Let every composition heed it; Hydra has no other door for that."""
    compose = ConfigLoaderImpl._compose_config_from_defaults_list
    if compose.__module__ == __name__:
        return

    def composed(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: Any) -> Any:
        options = [default.config_path.split("/") for default in defaults if default.config_path]
        chosen = {option[0]: option[1] for option in options if len(option) == 2 and option[0] in GROUPS}
        return compose(self, defaults=defaults, repo=cast("IConfigRepository", _Fitting(repo, chosen)))

    ConfigLoaderImpl._compose_config_from_defaults_list = composed  # type: ignore[method-assign]
