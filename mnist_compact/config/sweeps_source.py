"""The search questions in sweeps/ as Hydra's config group `sweeps`; other folders beside it do not become groups."""

import builtins

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.object_type import ObjectType

from mnist_compact.config.schema import sweeps_folder

GROUP = "sweeps"
POINTS = f"{GROUP}/points"  # the starting points of the questions, which refer to them in their defaults lists


class SweepsSource(FileConfigSource):
    """Hydra config source `sweeps://`: the group `sweeps` and its subgroup of starting points."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, f"{self.scheme()}://{sweeps_folder().parent}")

    @staticmethod
    def scheme() -> str:
        return GROUP

    def available(self) -> bool:
        return sweeps_folder().is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", GROUP, POINTS)

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(f"{GROUP}/") and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        if config_path == "":
            return [GROUP] if results_filter in (None, ObjectType.GROUP) else []
        if config_path == GROUP:  # without the subgroup, so that --help and tab completion list questions only
            return super().list(config_path, ObjectType.CONFIG) if results_filter is not ObjectType.GROUP else []
        return super().list(config_path, results_filter) if config_path == POINTS else []
