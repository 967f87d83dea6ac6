"""`hydra/sweeper=compact`: to Hydra an ordinary sweeper, behind it a study and its worker processes.

Light: Hydra imports it for every command line; Optuna and the rest are imported when a search begins.
"""

from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from mnist_compact.search.parent import Outcome


class CompactSweeper(Sweeper):
    """Searches `hydra.sweeper.params` and the sweeps on the command line. See `CompactSweeperConfig`."""

    def __init__(self, **_: Any) -> None:
        """The settings are read from the configuration in `setup`, not yet resolved here."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raises ConfigError for a question that does not exist."""
        from mnist_compact.terminal.refusals import check_question

        check_question(config.hydra.runtime.choices, hydra_context.config_loader)
        self.config = config

    def sweep(self, arguments: list[str]) -> "Outcome":
        from mnist_compact.search.parent import Parent
        from mnist_compact.terminal.view import View

        assert self.config is not None
        return Parent(self.config, arguments).search(View)


def register() -> None:
    """Tell Hydra the class. What it can be told, every composition has to know: `questions.configs.register`."""
    Plugins.instance().register(CompactSweeper)
