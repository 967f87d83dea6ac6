"""The throughput of several runs at the same time: `python -m benchmarks.parallel [--quick] [--json] [--synthetic]`.

It compares the images per second of one run on all cores with those of one single-threaded run per core at the same
time. Each run is a process with its own data and the configuration of experiment=m3_reference. All processes are
started and warmed up first, and wait at a barrier for their measurement. A measurement ends with the slowest of its
runs.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.synchronize import Barrier, Event

from benchmarks.setup import configured, images
from benchmarks.timing import Spread, interleave, machine_line, paired
from mnist_compact.common.cpu import cores

PATIENCE = 600  # seconds until a run that does not answer counts as failed


def run(threads: int, batches: int, synthetic: bool, barrier: Barrier, over: Event) -> None:
    """Train on the images each time the barrier opens, and then wait at the barrier; runs in a process of its own."""
    import torch

    from benchmarks.contenders import Ours
    from mnist_compact.training.device import prepare

    try:
        prepare(threads, torch.device("cpu"))
        ours = Ours(configured(), images(synthetic=synthetic), batches)
        ours.train()
        while True:
            barrier.wait()
            if over.is_set():
                return
            ours.train()
            barrier.wait()
    except BaseException:
        barrier.abort()
        raise


class Runs:
    """`count` processes with `threads` threads each. A call makes them train at the same time."""

    def __init__(self, count: int, threads: int, batches: int, *, synthetic: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.images = count * batches * configured().train.batch_size
        self.barrier, self.over = context.Barrier(count + 1, timeout=PATIENCE), context.Event()
        arguments = (threads, batches, synthetic, self.barrier, self.over)
        self.processes = [context.Process(target=run, args=arguments, daemon=True) for _ in range(count)]
        for process in self.processes:
            process.start()

    def __call__(self) -> float:
        """Return the images per second of all processes together."""
        self.barrier.wait()
        start = time.perf_counter()
        self.barrier.wait()
        return self.images / (time.perf_counter() - start)

    def end(self) -> None:
        self.over.set()
        self.barrier.wait()
        for process in self.processes:
            process.join()


def measure(cores: int, batches: int, rounds: int, *, synthetic: bool) -> dict[str, list[float]]:
    alone, beside = (Runs(n, t, batches, synthetic=synthetic) for n, t in ((1, cores), (cores, 1)))
    contenders: dict[str, Callable[[], float]] = {"alone": alone, "beside": beside}
    samples = interleave(contenders, rounds)
    alone.end()
    beside.end()
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parallel", description="Compare one run on all cores with one run per core."
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds of 24 batches instead of 9 of 240")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--synthetic", action="store_true", help="use random images instead of MNIST")
    options = parser.parse_args()
    rounds, batches = (3, 24) if options.quick else (9, 240)
    count = cores()
    samples = measure(count, batches, rounds, synthetic=options.synthetic)
    import torch

    from mnist_compact.training.device import describe_environment

    environment = describe_environment(torch.device("cpu"))
    ratio = paired(samples["beside"], samples["alone"])
    if options.json:
        record = {"environment": environment, "cores": count, "ratio": asdict(ratio), "images_per_second": samples}
        print(json.dumps(record, indent=2, ensure_ascii=False))
        return 0
    print(f"{machine_line(environment)}\n{rounds} rounds of {batches} batches; images a second")
    print(f"one run on {count} cores:          {Spread.of(samples['alone']).text(',.0f')}")
    print(f"{count} single-threaded runs at once: {Spread.of(samples['beside']).text(',.0f')}")
    print(f"ratio: {ratio.text()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
