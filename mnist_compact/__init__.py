"""Compact CNNs on MNIST: configured with Hydra, searched with Optuna, compared with pandas.

The names in `__all__` are the public Python API. Each is imported on first use, so that importing the package stays
fast and `--help` and shell completion do not wait for torch, Optuna or pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_compact.api import confirm, rank, train
    from mnist_compact.callbacks.callback import Callback
    from mnist_compact.config.composition import compose
    from mnist_compact.confirmation.comparison import compare
    from mnist_compact.deploy.pictures import read_picture
    from mnist_compact.reports.study_table import load_study
    from mnist_compact.reports.tables import load_runs
    from mnist_compact.zoo.classifier import load_network
    from mnist_compact.zoo.registry import load

__version__ = "0.1.0"
__all__ = [
    "Callback",
    "compare",
    "compose",
    "confirm",
    "load",
    "load_network",
    "load_runs",
    "load_study",
    "rank",
    "read_picture",
    "train",
]
_MODULES = {
    "Callback": "callbacks.callback",
    "compare": "confirmation.comparison",
    "compose": "config.composition",
    "confirm": "api",
    "load": "zoo.registry",
    "load_network": "zoo.classifier",
    "load_runs": "reports.tables",
    "load_study": "reports.study_table",
    "rank": "api",
    "read_picture": "deploy.pictures",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
