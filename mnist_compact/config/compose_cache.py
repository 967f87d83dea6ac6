"""A cache for many compositions with the same options. Hydra mostly reads and merges their files."""

import pickle
from collections.abc import Callable, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig


class ComposeCache:
    """Composes once for each choice of options, and applies values to a copy of the result.

    Hydra's own code applies the values, so they have the usual meaning and errors. Only the list under
    `hydra.overrides` does not contain them.

    Args:
        compose: Composes a configuration from overrides. The files that it reads must not change.
        is_group: Whether a key is a config group.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig], is_group: Callable[[str], bool]) -> None:
        self.compose = compose
        self.is_group = is_group
        self.chosen: dict[tuple[str, ...], bytes] = {}  # pickle copies ten times as fast as deepcopy

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of these overrides."""
        options = tuple(override for override in overrides if self._chooses(override))
        if options not in self.chosen:
            self.chosen[options] = pickle.dumps(self.compose(list(options)))
        config: DictConfig = pickle.loads(self.chosen[options])
        values = [override for override in overrides if not self._chooses(override)]
        ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(values), config)
        return config

    def _chooses(self, override: str) -> bool:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0]
        return key.startswith("hydra") or self.is_group(key)
