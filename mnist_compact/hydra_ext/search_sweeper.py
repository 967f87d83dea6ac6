"""`hydra/sweeper=compact`: to Hydra an ordinary sweeper, behind it a study and its worker processes.

Light: Hydra imports it for every command line; Optuna and the rest are imported when a search begins.
"""

from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from mnist_compact.search.coordinator import SearchResult


class CompactSweeper(Sweeper):
    """Searches `hydra.sweeper.params` and the sweeps on the command line. See `CompactSweeperConfig`."""

    def __init__(self, **_: Any) -> None:
        """The settings are read from the configuration in `setup`, not yet resolved here."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raises ConfigError for a question that does not exist."""
        from mnist_compact.config.error_messages import check_question

        check_question(config.hydra.runtime.choices, hydra_context.config_loader)
        self.config = config

    def sweep(self, arguments: list[str]) -> "SearchResult":
        from mnist_compact.cli.search_display import View
        from mnist_compact.search.coordinator import Coordinator

        assert self.config is not None
        return Coordinator(self.config, arguments).search(View)


def register() -> None:
    """Tell Hydra the class. What it can be told, every composition has to know: `questions.configs.register`."""
    Plugins.instance().register(CompactSweeper)
