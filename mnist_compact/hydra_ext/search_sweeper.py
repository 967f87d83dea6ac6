"""`hydra/sweeper=compact`: a Hydra sweeper that runs a search with an Optuna study and worker processes.

Hydra imports this module for every command line. Optuna and other heavy modules are imported when a search starts.
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

    load_view: ClassVar[Callable[[], "type[View]"]]  # called when a search starts; set by `register`
    rank_best: ClassVar[Callable[["SearchResult"], None]]  # called when a search has ended; set by `register`

    def __init__(self, **_: Any) -> None:
        """Ignore the settings: they are not resolved yet, and `setup` receives the configuration."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the configuration.

        Raises:
            ConfigError: The search question does not exist.
        """
        from mnist_compact.config.error_messages import check_question

        check_question(config.hydra.runtime.choices, hydra_context.config_loader)
        self.config = config

    def sweep(self, arguments: list[str]) -> "SearchResult":
        """Run the search that the configuration and the overrides on the command line describe."""
        from mnist_compact.search.coordinator import Coordinator

        assert self.config is not None
        search_result = Coordinator(self.config, arguments).search(type(self).load_view())
        type(self).rank_best(search_result)
        return search_result


def register(load_view: Callable[[], "type[View]"], rank_best: Callable[["SearchResult"], None]) -> None:
    """Register the sweeper with Hydra; its options are registered by `config.registration`.

    Args:
        load_view: Imports and returns the class that displays a search.
        rank_best: Ranks the best trials of a search that asks for it.
    """
    CompactSweeper.load_view, CompactSweeper.rank_best = load_view, rank_best
    Plugins.instance().register(CompactSweeper)
