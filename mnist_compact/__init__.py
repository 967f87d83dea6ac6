"""Compact CNNs on MNIST: configured with Hydra, searched with Optuna, compared with pandas.

Importing this package imports none of them, so that ``--help`` and shell completion stay quick; each name of `__all__`
is found when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_compact.api import train
    from mnist_compact.config.composition import compose
    from mnist_compact.confirm import Confirm
    from mnist_compact.reports.study_table import load_study
    from mnist_compact.reports.tables import load_runs
    from mnist_compact.zoo.classifier import load_network
    from mnist_compact.zoo.registry import load

    confirm: Confirm

__version__ = "0.1.0"
__all__ = ["compose", "confirm", "load", "load_network", "load_runs", "load_study", "train"]
_HOMES = {
    "compose": "composition",
    "load": "use.entries",
    "load_network": "use.classifier",
    "load_runs": "results.tables",
    "load_study": "studies.trials",
    "train": "notebook",
}


def __getattr__(name: str) -> Any:
    if name == "confirm":
        return import_module(f"{__name__}.confirm")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
