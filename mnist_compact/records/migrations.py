"""Migrations of records of earlier schema versions. The versions are listed in `record`."""

from collections.abc import Callable, Mapping
from typing import Any

# Key of a setting before version 3 → its present key.
MOVED = {"train.device": "machine.device", "train.threads": "machine.threads", "data.root": "machine.data_root"}


def _from_1(raw: dict[str, Any]) -> None:
    """Add `evaluated` and `final`.

    In version 1 the score of averaged weights at "last" may be older than the last epoch of the run; it is removed.
    """
    scores = raw.get("scores", [])
    split = next((score["split"] for score in scores if score["split"] != "train"), None)
    kind = raw["config"]["data"]["kind"] if split is None else ""
    raw["evaluated"] = split or {"mnist": "test"}.get(kind, kind)
    done = raw.get("epochs_done", 0)
    raw["scores"] = [score for score in scores if score["at"] != "last" or score["epoch"] == done]
    ended = [score for score in raw["scores"] if score["split"] == split and score["at"] == "last"]
    for score in sorted(ended, key=lambda score: score["weights"] != "averaged")[:1]:
        score["final"] = True


def _from_2(raw: dict[str, Any]) -> None:
    raw["config"] = with_machine(raw["config"])


def with_machine(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a record with the `machine` group that version 3 introduced.

    Raises:
        TypeError: If `config` is not a mapping.
    """
    if "machine" in config:
        return dict(config)
    machine = {"kind": "machine", "name": "auto"}
    groups = {group: dict(part) if isinstance(part, Mapping) else part for group, part in config.items()}
    for old, new in MOVED.items():
        group, _, key = old.partition(".")
        if isinstance(groups.get(group), dict) and key in groups[group]:
            machine[new.partition(".")[2]] = groups[group].pop(key)
    return {**groups, "machine": machine}


def option_name(chosen: Mapping[str, Any]) -> Any:
    """Return the name of the option of a config group in a record.

    The option `stages` of the models once had named layers. Its settings are those of the option `compact` now.
    """
    name = chosen.get("name")
    return "compact" if (name, chosen.get("kind")) == ("stages", "compact") else name


def with_threshold(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preregistration in which the threshold has its present name; version 1 named it `bar`."""
    return {"threshold" if key == "bar" else key: value for key, value in plan.items()}


def new_place(key: str) -> str:
    """Return the hint ` It is … now.` for a setting that has moved, or an empty string."""
    return f" It is {MOVED[key]} now." if key in MOVED else ""


def moved(word: str) -> str:
    """Translate an override, such as `train.threads=1`, to its present key."""
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    return f"{MOVED[name]}{equals}{value}" if name in MOVED else word


MIGRATIONS: dict[int, Callable[[dict[str, Any]], None]] = {1: _from_1, 2: _from_2}
