"""Register with Hydra everything that conf/config.yaml refers to."""

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_optuna_sweeper.config import TPESamplerConfig


def register() -> None:
    """Register the schemas, the sweeper's options and the search questions in sweeps/."""
    from hydra.core.plugins import Plugins

    from mnist_compact.config import experiment_defaults, schema
    from mnist_compact.config.sweeper import (
        CompactSweeperConfig,
        HalvingPrunerConfig,
        HyperbandPrunerConfig,
        MedianPrunerConfig,
        NopPrunerConfig,
        PercentilePrunerConfig,
    )
    from mnist_compact.config.sweeps_source import SweepsSource

    schema.register()
    experiment_defaults.register()
    store = ConfigStore.instance()
    store.store(
        group="hydra/sweeper", name="compact", node=CompactSweeperConfig, provider="mnist_compact", replace=True
    )
    joint = TPESamplerConfig(multivariate=True, group=True, constant_liar=True, n_startup_trials=8)
    store.store(group="hydra/sweeper/sampler", name="tpe_joint", node=joint, provider="mnist_compact", replace=True)
    pruners = {
        "none": NopPrunerConfig,
        "median": MedianPrunerConfig,
        "halving": HalvingPrunerConfig,
        "percentile": PercentilePrunerConfig,
        "hyperband": HyperbandPrunerConfig,
    }
    for name, node in pruners.items():
        store.store(group="hydra/sweeper/pruner", name=name, node=node, provider="mnist_compact", replace=True)
    Plugins.instance().register(SweepsSource)
