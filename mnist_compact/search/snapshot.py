"""What a study is about, snapshot at its start: later edits of YAML change nothing in it."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import changes, flat
from mnist_compact.config.compose_cache import ComposeCache
from mnist_compact.config.conversion import check_names, to_run_config
from mnist_compact.config.registration import register
from mnist_compact.config.schema import GROUPS, SCHEMAS, RunConfig, configuration_folder
from mnist_compact.config.sweeper import CONTINUABLE
from mnist_compact.config.sweeps_source import GROUP, sweeps_folder
from mnist_compact.records.settings import MACHINE, is_machines
from mnist_compact.search.grammar import listed

ConfigSnapshot = dict[str, Any]  # plain JSON: it lies in the study and travels with its export
KNOWN = (*SCHEMAS, "experiment", "hydra", GROUP)  # a folder beside conf/ may hold much that is no group


def take_snapshot(sweeper: DictConfig, arguments: list[str], beside: Sequence[Path] = ()) -> ConfigSnapshot:
    """Everything that decides what a trial is: the files, the search's settings, the command line.

    A glob(…) is replaced by the options that it stands for today, so that later files change nothing in the study.
    What this machine computes its trials on is kept apart, for another may go on with the same study. Of the folders
    `beside` conf/, such as Hydra's --config-dir, the groups that this program has.
    """
    settings = OmegaConf.to_container(sweeper, resolve=True, enum_to_str=True)
    assert isinstance(settings, dict)
    leave_out = {*CONTINUABLE - {"enqueue"}, "study_name", "folder", "_target_", "defaults"}
    conf, sweeps = configuration_folder(), sweeps_folder()
    paths = [(path, conf) for path in conf.rglob("*.yaml")]
    paths += [(path, root) for root in beside for group in KNOWN for path in (root / group).rglob("*.yaml")]
    paths += [(path, sweeps.parent) for path in sweeps.rglob("*.yaml")]
    files: dict[str, str] = {}
    for path, root in paths:
        # Hydra, too, takes the first it finds.
        files.setdefault(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    question, machine = _divided([listed(word, files) for word in arguments])
    for searched in (settings["params"], *(branch["params"] for branch in settings["branches"].values())):
        searched.update({key: _listed(key, sweep, files) for key, sweep in searched.items()})
    return {
        "settings": {str(key): value for key, value in settings.items() if key not in leave_out},
        "arguments": question,
        "machine": machine,
        "files": dict(sorted(files.items())),
    }


def _listed(key: str, sweep: Any, files: Iterable[str]) -> Any:
    """A sweep of `params`, with the options that a glob(…) stands for today."""
    return listed(f"{key}={sweep}", files).partition("=")[2] if "glob(" in str(sweep) else sweep


def _divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of the question, and those of the machine; several values of one are a search, to be refused."""
    question, machine = list[str](), list[str]()
    for word, override in zip(arguments, OverridesParser.create().parse_overrides([*arguments]), strict=True):
        of_machine = is_machines(override.key_or_group) and not override.is_sweep_override()
        (machine if of_machine else question).append(word)
    return question, machine


def folders_beside(config: DictConfig) -> list[Path]:
    """Where Hydra looks for options besides conf/ and sweeps/: --config-dir, and files of hydra.searchpath."""
    sources = config.hydra.runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file" and source.provider != "main"]


def held_out(config: DictConfig, arguments: list[str]) -> list[str]:
    """With data=holdout where nobody has said what to score on: the default of plain runs is the test split."""
    said = any(argument.lstrip("+").startswith("data=") for argument in arguments)
    if said or config.hydra.runtime.choices.get("sweeps") or config.hydra.runtime.choices.data != "mnist":
        return arguments
    return [*arguments, "data=holdout"]


def digits_of(snapshot: ConfigSnapshot) -> str:
    """Eight that tell one search from another, for one without a name: the same line again has the same."""
    asked = {"settings": {**snapshot["settings"], "enqueue": []}, "arguments": sorted(snapshot["arguments"])}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]


def differences(then: ConfigSnapshot, now: ConfigSnapshot) -> list[str]:
    """Lines `what: then → now`, for what a trial is made of.

    Comments and the files' layout do not count, nor whether a file says what is the default anyway.
    """
    lines = changes(sorted(then["arguments"]), sorted(now["arguments"]), "arguments")
    lines += changes(_fast(then["settings"]), _fast(now["settings"]), "hydra.sweeper")
    for name in sorted(_in_use(then)):  # of the sweeper's own settings the resolved ones count
        first, second = (_whole(name, snapshot["files"]) for snapshot in (then, now))
        lines += changes(first, second, name)
    return lines


def _in_use(snapshot: ConfigSnapshot) -> set[str]:
    """The files that a trial may be made of: what the line and the space choose, else config.yaml, and their defaults.

    Rather one too many than one too few.
    """
    files, settings = snapshot["files"], snapshot["settings"]
    words = (word.lstrip("+").partition("=") for word in snapshot["arguments"])
    asked = [*settings["params"].items(), *((key, value) for key, _, value in words)]
    said = dict(_option(key, value, files) for key, value in asked)
    branched = [
        _option(key, value, files)
        for branch in settings["branches"].values()
        for key, value in branch["params"].items()
    ]
    deltas = [said[group][0] for group in ("experiment", GROUP) if len(said.get(group, ())) == 1]
    decided = {*said, *(group for name in deltas for group, _ in _defaults(name, files))}
    usual = [(group, names) for group, names in _defaults("config.yaml", files) if group not in decided]
    used, waiting = {"config.yaml"}, [name for _, names in (*said.items(), *branched, *usual) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += [other for _, names in _defaults(name, files) for other in names]
    return {name for name in used if not name.startswith(("hydra/", "callbacks/", f"{MACHINE}/"))}


def _option(group: str, value: Any, files: dict[str, str]) -> tuple[str, list[str]]:
    """A group and the file of its option; of what is no single option, such as a sweep, all files of the group."""
    name = f"{group}/{value}.yaml"
    if name in files or value in (None, "null"):
        return group, [name] if name in files else []
    return group, [other for other in files if other.startswith(f"{group}/")]


def _defaults(name: str, files: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Groups that a file's defaults list decides, and the files it takes there."""
    home = name.rpartition("/")[0]
    parsed: Any = OmegaConf.to_container(OmegaConf.create(files[name]), resolve=False)
    for entry in parsed.get("defaults", []):
        if isinstance(entry, str):  # another file of the same group to stand on, a schema, _self_
            place = _from_root(home, entry)
            yield place.rpartition("/")[0], [f"{place}.yaml"] if f"{place}.yaml" in files else []
            continue
        for key, value in entry.items():
            group = _from_root(home, key.split()[-1])  # behind `override` or `optional`
            for option in value if isinstance(value, list) else [value]:
                yield _option(group, option, files)


def _from_root(home: str, place: str) -> str:
    place = place.partition("@")[0]
    return place[1:] if place.startswith("/") else f"{home}/{place}".strip("/")


def _fast(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what may differ, some of which earlier versions have snapshot."""
    return {key: value for key, value in settings.items() if key not in CONTINUABLE}


def _whole(name: str, files: dict[str, str]) -> dict[str, Any]:
    """What a file says, on top of what it stands on: files of its group, and the defaults of its schema.

    Without what a question says of the search, which is compared as settings.
    """
    if name not in files:
        return {}
    said: Any = OmegaConf.to_container(OmegaConf.create(files[name]), resolve=False)
    whole: Any = OmegaConf.create()
    for entry in said.get("defaults", []):
        if isinstance(entry, str):
            place = f"{_from_root(name.rpartition('/')[0], entry)}.yaml"
            whole = OmegaConf.merge(whole, _schema(place) if place.startswith("schema/") else _whole(place, files))
    whole = OmegaConf.to_container(OmegaConf.merge(whole, said), resolve=False)
    return {key: value for key, value in whole.items() if key != "hydra"}


def _schema(place: str) -> Any:
    """The defaults of an option's class, as a plain tree; none of a class that this version does not have."""
    _, group, kind = place.removesuffix(".yaml").split("/")
    cls = SCHEMAS[group].get(kind)
    return {} if cls is None else OmegaConf.to_container(OmegaConf.structured(cls), enum_to_str=True)


class Composer:
    """Composes runs out of the snapshot files. One a process: Hydra keeps its state in a global."""

    def __init__(self, snapshot: ConfigSnapshot, fixed: Sequence[str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="mnist_compact_")
        for name, text in snapshot["files"].items():
            path = Path(self.folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        register()
        self.before = GlobalHydra.instance().hydra  # the application's own, while it runs
        GlobalHydra.instance().clear()
        initialize_config_dir(self.folder.name)
        self.fixed = list(fixed)
        groups = {parent.as_posix() for name in snapshot["files"] for parent in Path(name).parents}
        self._chosen = ComposeCache(self._compose, groups.__contains__)

    def close(self) -> None:
        GlobalHydra.instance().hydra = self.before
        self.folder.cleanup()

    def composed(self, overrides: list[str]) -> DictConfig:
        """Raises ConfigError for a configuration that scores on the test split: by it nothing is chosen."""
        return self._chosen([*self.fixed, *overrides])

    def _compose(self, options: list[str]) -> DictConfig:
        cfg = compose("config", overrides=["hydra/help=default", *options], return_hydra_config=True)
        data: Any = OmegaConf.get_type(cfg.data)
        if data.role == "test":
            name = cfg.hydra.runtime.choices.data
            given: Any = OmegaConf.to_object(cfg.data)
            other = given.scored_on("holdout").name
            raise ConfigError([f"data must not score a search on the test split, got data={name}; take data={other}"])
        return cfg

    def run_config(self, overrides: list[str]) -> RunConfig:
        """Raises ConfigError, as for a single run."""
        cfg = self.composed(overrides)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        run = to_run_config(cfg)
        check_names(run, choices)
        return run

    def known(self) -> dict[str, Any]:
        """Key → value of what all trials share; a group's key gives the name of its option."""
        cfg = self.composed([])
        tree: Any = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
        del tree["hydra"]
        return {**flat(tree), **{group: cfg.hydra.runtime.choices[group] for group in GROUPS}}
