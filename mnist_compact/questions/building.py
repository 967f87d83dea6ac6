"""What a frozen question is built into: its space, its sampler, its pruner; and where a run lies in that space."""

import random
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from mnist_compact.questions.frozen import Frozen
from mnist_compact.questions.rounding import RoundingSampler
from mnist_compact.questions.space import SearchSpace

WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.*")


def space_of(frozen: Frozen) -> SearchSpace:
    settings = frozen["settings"]
    return SearchSpace.parse(settings["params"], settings["branches"], frozen["arguments"])


def sampler_of(frozen: Frozen, occasion: str) -> RoundingSampler:
    """The sampler, afresh for every proposal: seeded by the occasion, so that no two of them repeat each other."""
    node, seed = dict(frozen["settings"]["sampler"]), frozen["settings"]["seed"]
    if is_grid(frozen):  # points come in order; Optuna's own wants to stop a loop that is not here
        node = {"_target_": "optuna.samplers.RandomSampler", "seed": None}
    if "QMC" in node["_target_"]:
        node["seed"] = seed  # all workers walk along one sequence
    elif "seed" in node:
        node["seed"] = random.Random(f"{seed}/{occasion}").getrandbits(31)
    if node.get("warn_independent_sampling"):
        node["warn_independent_sampling"] = False  # each proposal has a new sampler, which would say so again
    sampler: BaseSampler = instantiate(OmegaConf.create(node), _execution_whitelist_=WHITELIST)
    return RoundingSampler(sampler)


def is_grid(frozen: Frozen) -> bool:
    return str(frozen["settings"]["sampler"]["_target_"]).endswith(".GridSampler")


def pruner_of(frozen: Frozen) -> BasePruner:
    pruner: BasePruner = instantiate(OmegaConf.create(frozen["settings"]["pruner"]), _execution_whitelist_=WHITELIST)
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
