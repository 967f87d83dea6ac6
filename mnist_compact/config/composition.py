"""Composition of run configurations from conf/ in Python, as on the command line."""

from functools import cache
from typing import Any

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.conversion import check_names, to_run_config
from mnist_compact.config.schema import GROUPS, RunConfig, configuration_folder


def compose(*overrides: str) -> RunConfig:
    """Return the configuration of `python -m mnist_compact <overrides>`.

    Raises:
        ConfigError: The overrides are wrong. The message is that of the command line.
    """
    return _composition(overrides)[0]


def options_of(*overrides: str) -> dict[str, Any]:
    """Return the option of each group for these overrides, including defaults."""
    choices = _composition(overrides)[1]
    return {group: choices[group] for group in GROUPS}


def _composition(overrides: tuple[str, ...]) -> tuple[RunConfig, dict[str, Any]]:
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import open_dict
    from omegaconf.errors import OmegaConfBaseException

    from mnist_compact.config.error_messages import check_options, explain

    _register_once()
    previous = GlobalHydra.instance().hydra  # that of a running application
    GlobalHydra.instance().clear()
    try:
        check_options(overrides)
        with hydra.initialize_config_dir(str(configuration_folder())):
            cfg = hydra.compose("config", overrides=[*overrides], return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        run = to_run_config(cfg)
        check_names(run, choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([explain(error) or str(error)]) from error
    finally:
        GlobalHydra.instance().hydra = previous
    return run, choices


@cache
def _register_once() -> None:
    from mnist_compact.config.registration import register

    register()
