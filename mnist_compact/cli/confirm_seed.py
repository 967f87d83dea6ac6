"""One seed of a confirmation: `python -m mnist_compact.cli.confirm_seed <confirmation> <seed> <threads> <parent>`.

Started by `seed_pool.train`. Goes on where an earlier process was killed, and ends with its parent.
"""

import sys
from pathlib import Path

from mnist_compact.cli.run_display import on_terminal
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, PREFIX, ConfigError
from mnist_compact.common.locks import lock_file
from mnist_compact.common.orphans import end_with
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.streams import prepare_streams
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.seed_pool import home_of, lock_of
from mnist_compact.records.record import RecordError, Status
from mnist_compact.runs.trainer import resume, run

PREDECESSOR_S = 30.0  # for the process of a parent that was killed to notice


def main(folder: Path, seed: int, threads: int, parent: int) -> int:
    prepare_streams()
    end_with(parent)
    confirmation = Confirmation.read(folder)
    home, callback = home_of(folder, seed), on_terminal()
    with lock_file(lock_of(folder, seed), timeout=PREDECESSOR_S):
        try:
            if (home / RECORD).exists():
                ended = resume(home, callback)
            else:
                config = confirmation.run_config(seed)
                # Its share of the cores: with all of them for each, seeds side by side take thirty times as long.
                config.machine.threads = config.machine.threads or threads
                ended = run(config, home, callback, overrides=[f"seed={seed}"])
        except (ConfigError, RecordError) as error:
            print(f"{PREFIX}{error}", file=sys.stderr)
            return EXIT_REFUSED
        finally:
            callback.close()
    return 0 if ended.status in (Status.COMPLETED, Status.DIVERGED) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
