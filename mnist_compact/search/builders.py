"""Build the search space, the sampler and the pruner of a study from its config snapshot."""

import random
from collections.abc import Sequence
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from mnist_compact.search.gaussian_process import GaussianProcessSampler
from mnist_compact.search.prior import LEARNING, InformedSampler
from mnist_compact.search.rounding import RoundingSampler
from mnist_compact.search.snapshot import ConfigSnapshot
from mnist_compact.search.space import SearchSpace

WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.*")


def space_of(snapshot: ConfigSnapshot) -> SearchSpace:
    settings = snapshot["settings"]
    return SearchSpace.parse(settings["params"], settings["branches"], snapshot["arguments"])


def sampler_of(snapshot: ConfigSnapshot, seed_key: str, prior: Sequence[FrozenTrial] = ()) -> RoundingSampler:
    """Build a new sampler for one proposal, with a seed that no other proposal has.

    Args:
        snapshot: The study's snapshot; it contains the sampler's configuration and the search's seed.
        seed_key: Differs from proposal to proposal; it is combined with the search's seed.
        prior: The prior trials.
    """
    node, seed = dict(snapshot["settings"]["sampler"]), snapshot["settings"]["seed"]
    if is_grid(snapshot):  # the proposer enqueues the points in order; Optuna's GridSampler calls study.stop()
        node = {"_target_": "optuna.samplers.RandomSampler", "seed": None}
    if "QMC" in node["_target_"]:
        node["seed"] = seed  # all workers share one sequence
    elif "seed" in node:
        node["seed"] = random.Random(f"{seed}/{seed_key}").getrandbits(31)
    if node.get("warn_independent_sampling"):
        node["warn_independent_sampling"] = False  # each proposal has a new sampler, which would repeat the warning
    sampler: BaseSampler = instantiate(OmegaConf.create(node), _execution_whitelist_=WHITELIST)
    if node["_target_"].endswith("GPSampler"):
        return GaussianProcessSampler(sampler, prior, space_of(snapshot).all_parameters())
    learns = node["_target_"].endswith(LEARNING)
    return InformedSampler(sampler, prior) if learns else RoundingSampler(sampler)


def is_grid(snapshot: ConfigSnapshot) -> bool:
    return str(snapshot["settings"]["sampler"]["_target_"]).endswith(".GridSampler")


def pruner_of(snapshot: ConfigSnapshot) -> BasePruner:
    pruner: BasePruner = instantiate(OmegaConf.create(snapshot["settings"]["pruner"]), _execution_whitelist_=WHITELIST)
    return pruner


def point_of(config: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """Return the values that a record's configuration has for the keys of a space.

    The value of a config group is the name of its option.
    """
    point = {}
    for key in sorted(keys):
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            point[key] = node["name"] if isinstance(node, dict) else node
    return point
