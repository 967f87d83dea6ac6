"""Many compositions that choose the same options: Hydra reads and joins the files once, nearly all of its work."""

import copy
from collections.abc import Callable, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig


class ComposeCache:
    """Composes with `compose`, whose files must not change, once for each choice of options.

    Values are put into a copy by Hydra's own hand, so they mean and are refused as what they would be otherwise; only
    the list of them that Hydra keeps under `hydra.overrides` lacks them.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig], is_group: Callable[[str], bool]) -> None:
        self.compose = compose
        self.is_group = is_group
        self.chosen: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        options = tuple(override for override in overrides if self._chooses(override))
        if options not in self.chosen:
            self.chosen[options] = self.compose(list(options))
        config = copy.deepcopy(self.chosen[options])
        values = [override for override in overrides if not self._chooses(override)]
        ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(values), config)
        return config

    def _chooses(self, override: str) -> bool:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0]
        return key.startswith("hydra") or self.is_group(key)
