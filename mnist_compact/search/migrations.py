"""Migrate the config snapshots of studies that earlier versions created."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mnist_compact.config.sweeps_source import GROUP
from mnist_compact.records.migrations import MOVED, moved
from mnist_compact.records.settings import MACHINE
from mnist_compact.search.snapshot import ConfigSnapshot

ROOT = "config.yaml"


def migrate_snapshot(snapshot: ConfigSnapshot) -> ConfigSnapshot:
    """Return a snapshot in the present form; a snapshot that has it already is returned unchanged."""
    return _with_callbacks(_with_machine(snapshot))


def _with_machine(snapshot: ConfigSnapshot) -> ConfigSnapshot:
    """Add the config group `machine` to a snapshot from before the group existed, and drop machine settings elsewhere.

    The search question does not change, because a study may be continued on any machine. The search's settings are
    removed from the snapshot's files as well: the snapshot stores them separately, and the files refer to another
    default pruner.
    """
    if f"{MACHINE}/auto.yaml" in snapshot["files"]:
        return snapshot
    files = {name: _without_moved_settings(name, text) for name, text in snapshot["files"].items()}
    files[f"{MACHINE}/auto.yaml"] = f"defaults: [/schema/{MACHINE}/{MACHINE}@_here_, _self_]\nname: auto\n"
    files[ROOT] = _with_default_machine(files[ROOT])
    machine = [moved(word) for word in snapshot["arguments"] if moved(word) != word]
    question = [word for word in snapshot["arguments"] if moved(word) == word]
    return {**snapshot, "arguments": question, "machine": machine, "files": dict(sorted(files.items()))}


def _with_default_machine(text: str) -> str:
    parsed = OmegaConf.create(text)
    assert isinstance(parsed, DictConfig)
    index = [isinstance(default, DictConfig) and "train" in default for default in parsed.defaults].index(True)
    parsed.defaults.insert(index + 1, {MACHINE: "auto"})  # as conf/config.yaml has it
    return OmegaConf.to_yaml(parsed)


def _without_moved_settings(name: str, text: str) -> str:
    """Remove the settings that have moved: from the top level of their group's options, and from that key elsewhere."""
    home = name.rpartition("/")[0]
    if home != GROUP and not any(old.partition(".")[2] in text for old in MOVED):
        return text
    parsed: Any = OmegaConf.create(text)
    removed = home == GROUP and parsed.pop("hydra", None) is not None
    for old in MOVED:
        group, _, key = old.partition(".")
        node = parsed if home == group else OmegaConf.select(parsed, group)
        if isinstance(node, DictConfig) and key in node:
            del node[key]
            removed = True
    if not removed:
        return text
    header = [line for line in text.splitlines() if line.startswith("# @package")]
    return "\n".join([*header, OmegaConf.to_yaml(parsed)])


def _with_callbacks(snapshot: ConfigSnapshot) -> ConfigSnapshot:
    """Convert the former group `tracker`, of which a run had one option, to the group `callbacks`."""
    if "callbacks/none.yaml" in snapshot["files"]:
        return snapshot
    files: dict[str, str] = {}
    for name, text in snapshot["files"].items():
        if name.startswith("tracker/"):
            files[name.replace("tracker/", "callbacks/")] = _callback_option(text)
        else:  # in a defaults list
            files[name] = re.sub(r"(^\s*- |override /)tracker:", r"\1callbacks:", text, flags=re.MULTILINE)
    arguments = [
        re.sub(r"^tracker\.", "callbacks.mlflow.", re.sub(r"^tracker=", "callbacks=", word))
        for word in snapshot["arguments"]
    ]
    return {**snapshot, "arguments": arguments, "files": dict(sorted(files.items()))}


def _callback_option(text: str) -> str:
    """Return the file of a tracker's option as one of `callbacks`, which has the settings under the callback's name."""
    settings: Any = OmegaConf.to_container(OmegaConf.create(text))
    kind = settings.pop("defaults")[0].rpartition("/")[2].partition("@")[0]
    del settings["name"]
    if kind == "none":
        return "{}\n"
    return OmegaConf.to_yaml({"defaults": [f"/schema/callbacks/{kind}@{kind}", "_self_"], kind: settings})
