"""Migrate the config snapshots of studies that earlier versions created."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from mnist_compact.config.sweeps_source import GROUP
from mnist_compact.records.migrations import MOVED, moved
from mnist_compact.records.settings import MACHINE
from mnist_compact.search.snapshot import ConfigSnapshot

ROOT = "config.yaml"


def migrate_snapshot(snapshot: ConfigSnapshot) -> ConfigSnapshot:
    """Add the config group `machine` to a snapshot from before the group existed, and drop machine settings elsewhere.

    The search question does not change, because a study may be continued on any machine. The search's settings are
    removed from the snapshot's files as well: they are kept beside the files, and the files refer to another default
    pruner.
    """
    if f"{MACHINE}/auto.yaml" in snapshot["files"]:
        return snapshot
    files = {name: _of_the_question(name, text) for name, text in snapshot["files"].items()}
    files[f"{MACHINE}/auto.yaml"] = f"defaults: [/schema/{MACHINE}/{MACHINE}@_here_, _self_]\nname: auto\n"
    files[ROOT] = _with_machine(files[ROOT])
    machine = [moved(word) for word in snapshot["arguments"] if moved(word) != word]
    question = [word for word in snapshot["arguments"] if moved(word) == word]
    return {**snapshot, "arguments": question, "machine": machine, "files": dict(sorted(files.items()))}


def _with_machine(text: str) -> str:
    parsed = OmegaConf.create(text)
    assert isinstance(parsed, DictConfig)
    place = [isinstance(default, DictConfig) and "train" in default for default in parsed.defaults].index(True)
    parsed.defaults.insert(place + 1, {MACHINE: "auto"})  # as conf/config.yaml has it
    return OmegaConf.to_yaml(parsed)


def _of_the_question(name: str, text: str) -> str:
    """Remove the settings that have moved: from the top level of their group's options, and from that key elsewhere."""
    home = name.rpartition("/")[0]
    if home != GROUP and not any(old.partition(".")[2] in text for old in MOVED):
        return text
    parsed: Any = OmegaConf.create(text)
    gone = home == GROUP and parsed.pop("hydra", None) is not None
    for old in MOVED:
        group, _, key = old.partition(".")
        node = parsed if home == group else OmegaConf.select(parsed, group)
        if isinstance(node, DictConfig) and key in node:
            del node[key]
            gone = True
    if not gone:
        return text
    header = [line for line in text.splitlines() if line.startswith("# @package")]
    return "\n".join([*header, OmegaConf.to_yaml(parsed)])
