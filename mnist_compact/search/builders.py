"""What a snapshot question is built into: its space, its sampler, its pruner; and where a run lies in that space."""

import random
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from mnist_compact.search.rounding import RoundingSampler
from mnist_compact.search.snapshot import ConfigSnapshot
from mnist_compact.search.space import SearchSpace

WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.*")


def space_of(snapshot: ConfigSnapshot) -> SearchSpace:
    settings = snapshot["settings"]
    return SearchSpace.parse(settings["params"], settings["branches"], snapshot["arguments"])


def sampler_of(snapshot: ConfigSnapshot, occasion: str) -> RoundingSampler:
    """The sampler, afresh for every proposal: seeded by the occasion, so that no two of them repeat each other."""
    node, seed = dict(snapshot["settings"]["sampler"]), snapshot["settings"]["seed"]
    if is_grid(snapshot):  # points come in order; Optuna's own wants to stop a loop that is not here
        node = {"_target_": "optuna.samplers.RandomSampler", "seed": None}
    if "QMC" in node["_target_"]:
        node["seed"] = seed  # all workers walk along one sequence
    elif "seed" in node:
        node["seed"] = random.Random(f"{seed}/{occasion}").getrandbits(31)
    if node.get("warn_independent_sampling"):
        node["warn_independent_sampling"] = False  # each proposal has a new sampler, which would say so again
    sampler: BaseSampler = instantiate(OmegaConf.create(node), _execution_whitelist_=WHITELIST)
    return RoundingSampler(sampler)


def is_grid(snapshot: ConfigSnapshot) -> bool:
    return str(snapshot["settings"]["sampler"]["_target_"]).endswith(".GridSampler")


def pruner_of(snapshot: ConfigSnapshot) -> BasePruner:
    pruner: BasePruner = instantiate(OmegaConf.create(snapshot["settings"]["pruner"]), _execution_whitelist_=WHITELIST)
    return pruner


def point_of(config: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """The values that a record's configuration has for keys of a space; a group's key has its option's name."""
    point = {}
    for key in sorted(keys):
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            point[key] = node["name"] if isinstance(node, dict) else node
    return point
