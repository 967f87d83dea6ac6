"""One seed of a confirmation: `python -m mnist_compact.cli.confirm_seed <confirmation> <seed> <threads> <parent>`.

Further arguments are names of callbacks. `seed_pool.train` starts it. It continues the run of a process that was
killed, and ends with its parent process.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from mnist_compact.callbacks.callback import CallbackList
from mnist_compact.callbacks.config import build_callbacks, named_callbacks, stored_callbacks
from mnist_compact.cli.run_display import on_terminal
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, PREFIX, ConfigError
from mnist_compact.common.locks import lock_file
from mnist_compact.common.orphans import end_with
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.streams import prepare_streams
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.seed_pool import lock_of, seed_folder
from mnist_compact.records.record import RecordError, Status
from mnist_compact.runs.trainer import resume, run

PREDECESSOR_S = 30.0  # time for an earlier process to notice that its parent was killed


def main(folder: Path, seed: int, threads: int, parent: int, callbacks: Sequence[str] = ()) -> int:
    """Train one seed, or continue its run.

    Args:
        folder: Folder of the confirmation.
        seed: The seed.
        threads: Number of threads, unless the configuration sets it.
        parent: Process id of the process that started this one.
        callbacks: Callbacks of the run, by the names of `named_callbacks`; without any, those that the run had.

    Returns:
        The exit code.
    """
    prepare_streams()
    end_with(parent)
    confirmation = Confirmation.read(folder)
    path = seed_folder(folder, seed)
    with lock_file(lock_of(folder, seed), timeout=PREDECESSOR_S):
        try:
            configs = named_callbacks(callbacks) or stored_callbacks(path)
            with closing(CallbackList(on_terminal(), *build_callbacks(configs, path))) as callback:
                if (path / RECORD).exists():
                    record = resume(path, callback)
                else:
                    config = confirmation.run_config(seed)
                    # Only its share of the cores: with all cores for each, seeds take thirty times as long.
                    config.machine.threads = config.machine.threads or threads
                    record = run(config, path, callback, overrides=[f"seed={seed}"])
        except (ConfigError, RecordError) as error:
            print(f"{PREFIX}{error}", file=sys.stderr)
            return EXIT_REFUSED
    return 0 if record.status in (Status.COMPLETED, Status.DIVERGED) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
