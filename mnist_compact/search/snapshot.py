"""The config snapshot of a study, taken at its start: later edits of YAML files do not change the study."""

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
from mnist_compact.config.schema import GROUPS, SCHEMAS, RunConfig, configuration_folder, sweeps_folder
from mnist_compact.config.sweeper import CONTINUABLE
from mnist_compact.config.sweeps_source import GROUP
from mnist_compact.records.settings import MACHINE, is_machines
from mnist_compact.search.grammar import listed

ConfigSnapshot = dict[str, Any]  # plain JSON: it is stored in the study and in its exported file
PRIOR = "prior"  # the key of a setting, the names of earlier studies, and of the snapshot's list of their trials
KNOWN = (*SCHEMAS, "experiment", "hydra", GROUP)  # a folder beside conf/ may contain more than config groups


def take_snapshot(sweeper: DictConfig, arguments: list[str], beside: Sequence[Path] = ()) -> ConfigSnapshot:
    """Collect everything that defines the trials: the config files, the search's settings, the command line.

    A glob(…) is replaced by the options that match it now, so that files added later do not change the study. The
    settings of the machine are stored separately, because a study may be continued on another machine.

    Args:
        sweeper: The node `hydra.sweeper` of the composed configuration.
        arguments: The overrides on the command line.
        beside: Further folders with options, such as Hydra's --config-dir; only this program's config groups are read.
    """
    settings = OmegaConf.to_container(sweeper, resolve=True, enum_to_str=True)
    assert isinstance(settings, dict)
    excluded = {*CONTINUABLE - {"enqueue"}, "study_name", "folder", "_target_", "defaults"}
    if not settings[PRIOR]:
        excluded.add(PRIOR)  # as in studies of earlier versions, which continue with the same name
    conf, sweeps = configuration_folder(), sweeps_folder()
    paths = [(path, conf) for path in conf.rglob("*.yaml")]
    paths += [(path, root) for root in beside for group in KNOWN for path in (root / group).rglob("*.yaml")]
    paths += [(path, sweeps.parent) for path in sweeps.rglob("*.yaml")]
    files: dict[str, str] = {}
    for path, root in paths:
        # Like Hydra, use the first file of each name.
        files.setdefault(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    question, machine = _split_by_machine([listed(word, files) for word in arguments])
    for searched in (settings["params"], *(branch["params"] for branch in settings["branches"].values())):
        searched.update({key: _listed(key, sweep, files) for key, sweep in searched.items()})
    return {
        "settings": {str(key): value for key, value in settings.items() if key not in excluded},
        "arguments": question,
        "machine": machine,
        "files": dict(sorted(files.items())),
    }


def _listed(key: str, sweep: Any, files: Iterable[str]) -> Any:
    """Replace a glob(…) in a sweep of `params` by the options that match it now."""
    return listed(f"{key}={sweep}", files).partition("=")[2] if "glob(" in str(sweep) else sweep


def _split_by_machine(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide overrides into those of the search question and those of the machine.

    A sweep over a machine setting stays in the question, where it is refused later.
    """
    question, machine = list[str](), list[str]()
    for word, override in zip(arguments, OverridesParser.create().parse_overrides([*arguments]), strict=True):
        of_machine = is_machines(override.key_or_group) and not override.is_sweep_override()
        (machine if of_machine else question).append(word)
    return question, machine


def folders_beside(config: DictConfig) -> list[Path]:
    """Return the folders in which Hydra finds options besides conf/ and sweeps/: --config-dir and hydra.searchpath."""
    sources = config.hydra.runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file" and source.provider != "main"]


def held_out(config: DictConfig, arguments: list[str]) -> list[str]:
    """Add data=holdout unless the data are given: plain runs score on the test split by default."""
    given = any(argument.lstrip("+").startswith("data=") for argument in arguments)
    if given or config.hydra.runtime.choices.get("sweeps") or config.hydra.runtime.choices.data != "mnist":
        return arguments
    return [*arguments, "data=holdout"]


def digits_of(snapshot: ConfigSnapshot) -> str:
    """Return eight hexadecimal digits that identify an unnamed search; rerunning the command gives the same digits."""
    identity = {"settings": {**snapshot["settings"], "enqueue": []}, "arguments": sorted(snapshot["arguments"])}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def differences(then: ConfigSnapshot, now: ConfigSnapshot) -> list[str]:
    """List the differences between two snapshots that affect trials, as lines `key: then → now`.

    Comments, the layout of files, and explicitly written defaults do not count as differences.
    """
    lines = changes(sorted(then["arguments"]), sorted(now["arguments"]), "arguments")
    lines += changes(_fixed_settings(then["settings"]), _fixed_settings(now["settings"]), "hydra.sweeper")
    if then["files"] == now["files"]:  # as in a continued study; expanding their defaults takes half a second
        return lines
    for name in sorted(_in_use(then)):  # the sweeper's settings are compared resolved, above
        first, second = (_expanded(name, snapshot["files"]) for snapshot in (then, now))
        lines += changes(first, second, name)
    return lines


def _in_use(snapshot: ConfigSnapshot) -> set[str]:
    """Return the files from which a trial may be composed.

    These are the options that the command line and the search space choose, the options that config.yaml chooses for
    the other groups, and the files in their defaults lists. Files that no trial uses may be among them.
    """
    files, settings = snapshot["files"], snapshot["settings"]
    words = (word.lstrip("+").partition("=") for word in snapshot["arguments"])
    given = [*settings["params"].items(), *((key, value) for key, _, value in words)]
    chosen = dict(_option(key, value, files) for key, value in given)
    branched = [
        _option(key, value, files)
        for branch in settings["branches"].values()
        for key, value in branch["params"].items()
    ]
    deltas = [chosen[group][0] for group in ("experiment", GROUP) if len(chosen.get(group, ())) == 1]
    decided = {*chosen, *(group for name in deltas for group, _ in _defaults(name, files))}
    defaults = [(group, names) for group, names in _defaults("config.yaml", files) if group not in decided]
    used, waiting = {"config.yaml"}, [name for _, names in (*chosen.items(), *branched, *defaults) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += [other for _, names in _defaults(name, files) for other in names]
    return {name for name in used if not name.startswith(("hydra/", "callbacks/", f"{MACHINE}/"))}


def _option(group: str, value: Any, files: dict[str, str]) -> tuple[str, list[str]]:
    """Return a group and the file of its option; all files of the group if the value is a sweep over options."""
    name = f"{group}/{value}.yaml"
    if name in files or value in (None, "null"):
        return group, [name] if name in files else []
    return group, [other for other in files if other.startswith(f"{group}/")]


def _defaults(name: str, files: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each config group that a file's defaults list decides, with the files that it selects there."""
    home = name.rpartition("/")[0]
    parsed: Any = OmegaConf.to_container(OmegaConf.create(files[name]), resolve=False)
    for entry in parsed.get("defaults", []):
        if isinstance(entry, str):  # another file of the same group, a schema, or _self_
            option = _from_root(home, entry)
            yield option.rpartition("/")[0], [f"{option}.yaml"] if f"{option}.yaml" in files else []
            continue
        for key, value in entry.items():
            group = _from_root(home, key.split()[-1])  # after `override` or `optional`
            for option in value if isinstance(value, list) else [value]:
                yield _option(group, option, files)


def _from_root(home: str, option: str) -> str:
    option = option.partition("@")[0]
    return option[1:] if option.startswith("/") else f"{home}/{option}".strip("/")


def _fixed_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out the settings that may differ when a study is continued; earlier versions stored some of them."""
    return {key: value for key, value in settings.items() if key not in CONTINUABLE}


def _expanded(name: str, files: dict[str, str]) -> dict[str, Any]:
    """Merge a file with what it inherits: files of its group, and the defaults of its schema.

    The node `hydra` and the options of Hydra's own groups are left out, because the search's settings are compared
    separately. So are the names of the inherited files: it does not matter whether a question contains its starting
    points or refers to their file.
    """
    if name not in files:
        return {}
    own: Any = OmegaConf.to_container(OmegaConf.create(files[name]), resolve=False)
    expanded: Any = OmegaConf.create()
    for entry in own.get("defaults", []):
        if isinstance(entry, str):
            base = f"{_from_root(name.rpartition('/')[0], entry)}.yaml"
            expanded = OmegaConf.merge(
                expanded, _schema(base) if base.startswith("schema/") else _expanded(base, files)
            )
    if "defaults" in own:
        own["defaults"] = [entry for entry in own["defaults"] if entry == "_self_" or _chooses_for_trials(entry)]
    expanded = OmegaConf.to_container(OmegaConf.merge(expanded, own), resolve=False)
    return {key: value for key, value in expanded.items() if key != "hydra"}


def _chooses_for_trials(entry: str | dict[str, Any]) -> bool:
    """Return whether an entry of a defaults list chooses an option of a group that is not Hydra's own."""
    if isinstance(entry, str):
        return False
    return not any(group.removeprefix("override ").lstrip("/").startswith("hydra/") for group in entry)


def _schema(path: str) -> Any:
    """Return the defaults of an option's class as a plain tree; empty if this version does not have the class."""
    _, group, kind = path.removesuffix(".yaml").split("/")
    cls = SCHEMAS[group].get(kind)
    return {} if cls is None else OmegaConf.to_container(OmegaConf.structured(cls), enum_to_str=True)


class Composer:
    """Composes runs from the files of a snapshot.

    Hydra keeps its state in a global, so that only the composer that was opened last can be used, until it is closed.
    """

    def __init__(self, snapshot: ConfigSnapshot, fixed: Sequence[str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="mnist_compact_")
        for name, text in snapshot["files"].items():
            path = Path(self.folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        register()
        self.previous_hydra = GlobalHydra.instance().hydra  # the state of the application, restored by `close`
        GlobalHydra.instance().clear()
        initialize_config_dir(self.folder.name)
        self.fixed = list(fixed)
        groups = {parent.as_posix() for name in snapshot["files"] for parent in Path(name).parents}
        self._chosen = ComposeCache(self._compose, groups.__contains__)

    def close(self) -> None:
        GlobalHydra.instance().hydra = self.previous_hydra
        self.folder.cleanup()

    def composed(self, overrides: list[str]) -> DictConfig:
        """Compose the configuration of a trial.

        Raises:
            ConfigError: The configuration scores on the test split, by which nothing may be chosen.
        """
        return self._chosen([*self.fixed, *overrides])

    def _compose(self, options: list[str]) -> DictConfig:
        # Configurations of earlier versions chose a help text of their own, which needs a resolver.
        cfg = compose("config", overrides=["hydra/help=default", *options], return_hydra_config=True)
        data: Any = OmegaConf.get_type(cfg.data)
        if data.role == "test":
            name = cfg.hydra.runtime.choices.data
            given: Any = OmegaConf.to_object(cfg.data)
            other = given.scored_on("holdout").name
            raise ConfigError([f"data must not score a search on the test split, got data={name}; use data={other}"])
        return cfg

    def run_config(self, overrides: list[str]) -> RunConfig:
        """Compose and convert the configuration of a trial.

        Raises:
            ConfigError: A value is out of range, as for a single run.
        """
        cfg = self.composed(overrides)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        run = to_run_config(cfg)
        check_names(run, choices)
        return run

    def known(self) -> dict[str, Any]:
        """Return the values that all trials share, by key; the value of a config group is the name of its option."""
        cfg = self.composed([])
        tree: Any = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
        del tree["hydra"]
        return {**flat(tree), **{group: cfg.hydra.runtime.choices[group] for group in GROUPS}}
