"""Compact CNNs on MNIST: configured with Hydra, searched with Optuna, compared with pandas.

Importing this package imports none of them, so that ``--help`` and shell completion stay quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_compact.results.tables import load_runs

__version__ = "0.1.0"
__all__ = ["__version__", "load_runs"]


def __getattr__(name: str) -> Any:
    if name == "load_runs":
        from mnist_compact.results.tables import load_runs

        return load_runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
