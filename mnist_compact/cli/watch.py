"""Display a search that another process runs. Its storage is only read."""

import time
from pathlib import Path

from optuna.study import Study

from mnist_compact.cli.search_display import REFRESH_S, View
from mnist_compact.common.errors import EXIT_FAILED, ExecutionError
from mnist_compact.search.status import search_status, stored_criteria
from mnist_compact.search.storage import StorageLost, StorageWatch


def watch(study: Study, folder: Path, url: str) -> None:
    """Display the search until it has stopped and no trial is running, or until Ctrl-C.

    Args:
        study: The study of the search.
        folder: The study's folder.
        url: The URL of the study's storage.

    Raises:
        ExecutionError: The storage is lost.
    """
    view = View(study.study_name, folder, url, stored_criteria(study), jobs=None)
    storage = StorageWatch(url)
    try:
        with storage.guard():
            view.begin(study.get_trials(deepcopy=False))
        while True:
            with storage.guard():
                view.settings = stored_criteria(study)  # the search may have been continued with others
                trials = study.get_trials(deepcopy=False)
            status = search_status(trials, view.settings)
            if status.stop is not None and not status.running:
                view.close()
                view.end(study, status.stop.reason, ranks=False)
                return
            view.show(trials)
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        return  # the user's way to end this command
    except StorageLost as lost:
        raise ExecutionError(f"{lost}; {lost.remedy} rerun the command", EXIT_FAILED) from lost
    finally:
        view.close()
