"""A search that runs elsewhere, watched: read from its storage alone, and nothing is written."""

import time
from pathlib import Path

from optuna.study import Study

from mnist_compact.cli.search_display import REFRESH_S, View
from mnist_compact.common.errors import EXIT_FAILED, ExecutionError
from mnist_compact.search.status import asked, search_status
from mnist_compact.search.storage import StorageLost, Watch


def watch(study: Study, folder: Path, url: str) -> None:
    """Until no trial is begun any more and none is under way, or Ctrl-C.

    Raises ExecutionError where the storage is lost.
    """
    view, over = View(study.study_name, folder, url, asked(study), jobs=None), Watch(url).over
    try:
        with over():
            view.begin(study.get_trials(deepcopy=False))
        while True:
            with over():
                view.settings = asked(study)  # it may have been told to go on to more
                trials = study.get_trials(deepcopy=False)
            now = search_status(trials, view.settings)
            if now.stop is not None and not now.at_work:
                view.close()
                view.end(study, now.stop.reason)
                return
            view.show(trials)
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        return  # as it was told
    except StorageLost as lost:
        raise ExecutionError(f"{lost}; {lost.remedy} this can be typed again", EXIT_FAILED) from lost
    finally:
        view.close()
