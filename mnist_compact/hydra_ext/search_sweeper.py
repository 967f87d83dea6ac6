"""`hydra/sweeper=compact`: to Hydra an ordinary sweeper, behind it a study and its worker processes.

Light: Hydra imports it for every command line; Optuna and the rest are imported when a search begins.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from mnist_compact.search.coordinator import SearchResult, View


class CompactSweeper(Sweeper):
    """Searches `hydra.sweeper.params` and the sweeps on the command line. See `CompactSweeperConfig`."""

    load_view: ClassVar[Callable[[], "type[View]"]]  # imported when a search begins; set by `register`

    def __init__(self, **_: Any) -> None:
        """The settings are read from the configuration in `setup`, not yet resolved here."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raises ConfigError for a question that does not exist."""
        from mnist_compact.config.error_messages import check_question

        check_question(config.hydra.runtime.choices, hydra_context.config_loader)
        self.config = config

    def sweep(self, arguments: list[str]) -> "SearchResult":
        from mnist_compact.search.coordinator import Coordinator

        assert self.config is not None
        return Coordinator(self.config, arguments).search(type(self).load_view())


def register(load_view: Callable[[], "type[View]"]) -> None:
    """Register the sweeper with Hydra; its options are registered by `config.registration`.

    Args:
        load_view: Imports and returns the class that displays a search.
    """
    CompactSweeper.load_view = load_view
    Plugins.instance().register(CompactSweeper)
