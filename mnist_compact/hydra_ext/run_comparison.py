"""The table of runs at the end of a multirun, as a Hydra callback."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mnist_compact.hydra_ext.output_folders import as_shown


class CompareRuns(Callback):
    """Hydra callback: prints a table of the runs after a multirun."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the table of the runs in the multirun's folder."""
        from mnist_compact.common.tables import show_table
        from mnist_compact.common.wording import counted
        from mnist_compact.records.discovery import Origin, run_folders
        from mnist_compact.reports.tables import compare_runs

        folder = as_shown(config.hydra.sweep.dir)
        found = list(run_folders(folder)) if folder.is_dir() else []
        runs = [run.label for run in found if Origin.of(run.path).kind != "trial"]  # a search has a display of its own
        if runs:
            show_table(compare_runs(runs))
            print(f"\n{counted(len(runs), 'run')} in {folder}")
