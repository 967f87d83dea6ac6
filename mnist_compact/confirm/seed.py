"""One seed of a confirmation: `python -m mnist_compact.confirm.seed <confirmation> <seed> <threads> <parent>`.

Started by `crew.train`. Goes on where an earlier process was killed, and ends with its parent.
"""

import sys
from pathlib import Path

from mnist_compact.confirm.confirmation import Confirmation
from mnist_compact.confirm.crew import home_of, lock_of
from mnist_compact.experiment import resume, run
from mnist_compact.faults import EXIT_FAILED, EXIT_REFUSED, PREFIX, ConfigError
from mnist_compact.locks import lock_file
from mnist_compact.orphans import end_with
from mnist_compact.results.record import RecordError, Status
from mnist_compact.run_files import RECORD
from mnist_compact.streams import prepare_streams
from mnist_compact.terminal.display import on_terminal

PREDECESSOR_S = 30.0  # for the process of a parent that was killed to notice


def main(folder: Path, seed: int, threads: int, parent: int) -> int:
    prepare_streams()
    end_with(parent)
    confirmation = Confirmation.read(folder)
    home, watcher = home_of(folder, seed), on_terminal()
    with lock_file(lock_of(folder, seed), timeout=PREDECESSOR_S):
        try:
            if (home / RECORD).exists():
                ended = resume(home, watcher)
            else:
                config = confirmation.run_config(seed)
                # Its share of the cores: with all of them for each, seeds side by side take thirty times as long.
                config.machine.threads = config.machine.threads or threads
                ended = run(config, home, watcher, overrides=[f"seed={seed}"])
        except (ConfigError, RecordError) as error:
            print(f"{PREFIX}{error}", file=sys.stderr)
            return EXIT_REFUSED
        finally:
            watcher.close()
    return 0 if ended.status in (Status.COMPLETED, Status.DIVERGED) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
