"""Compact CNNs on MNIST: configured with Hydra, searched with Optuna, compared with pandas.

Importing this package imports none of them, so that ``--help`` and shell completion stay quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_compact.results.tables import load_runs
    from mnist_compact.use.entries import load

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_runs"]


def __getattr__(name: str) -> Any:
    if name == "load_runs":
        from mnist_compact.results.tables import load_runs

        return load_runs
    if name == "load":
        from mnist_compact.use.entries import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
