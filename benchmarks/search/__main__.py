"""Compare this package's search with Hydra's Optuna sweeper: `python -m benchmarks.search [--real | --record] …`.

By default both sweepers are replayed on recorded curves of a reduced real MNIST (question.yaml), until they first reach
the score that the stock sweeper's 24 trials find. With --real both run once, one after the other, to measure wall-clock
time, use of the cores and overhead. With --record the curves are recorded.
"""

import argparse
import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from benchmarks.search import curves as recorded
from benchmarks.search.contest import STOCK_TRIALS, WORKERS, ContenderResult, Contest
from benchmarks.search.curves import Curves
from benchmarks.search.question import SearchQuestion
from benchmarks.search.real import compare
from benchmarks.search.report import as_record, as_text
from benchmarks.timing import Must, Spread, machine_line, verdict
from mnist_compact.common.cpu import cores
from mnist_compact.common.errors import ConfigError
from mnist_compact.search.snapshot import ConfigSnapshot
from mnist_compact.training.device import describe_environment

SAMPLER = "tpe_joint"  # the default of the sweeper
OURS = "ours"  # `hydra/sweeper=compact` with its defaults
LIMITS = {"epochs": 1 / 2, "seconds": 1 / 3}  # relative to the stock sweeper
OVERHEAD_PERCENT = 2.0


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--real", action="store_true", help="run both sweepers once instead of replays")
    kind.add_argument("--record", action="store_true", help="train the missing points of the curves instead of replays")
    parser.add_argument("--curves", type=Path, default=recorded.FILE, metavar="FILE")
    parser.add_argument("--points", type=int, metavar="N", help="record at most N more points")
    parser.add_argument("--replays", type=int, metavar="N", help="default: 100")
    parser.add_argument("--sampler", default=SAMPLER, help="of this package's search (default: %(default)s)")
    parser.add_argument("--stock-sampler", metavar="SAMPLER", help="of the stock sweeper (default: the same)")
    parser.add_argument(
        "--pruners", nargs="+", default=[], metavar="PRUNER",
        help="in addition to the default: options of hydra/sweeper/pruner or classes of optuna.pruners, with settings: "
        "percentile:percentile=25,n_min_trials=4; --real takes the first",
    )  # fmt: skip
    parser.add_argument(
        "--launcher", default="processes", help="of the stock sweeper's real run (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="20 replays; with --real 4 trials of 3 epochs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--synthetic", action="store_true", help="try --record or --real without MNIST")
    parser.add_argument("--check", action="store_true", help="exit with 1 and name each missed limit")
    options = parser.parse_args()
    if options.synthetic and not options.real and options.curves == recorded.FILE:
        parser.error("--synthetic needs --curves, because the committed curves are of real MNIST")
    return options


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description="Compare two sweepers.")
    options = options_of(parser)
    question = SearchQuestion.read(synthetic=options.synthetic)
    try:
        if options.record:
            recorded.record(question, options.curves, at_most=options.points, processes=cores())
            return 0
        return real(question, options) if options.real else replays(question, options)
    except (ConfigError, HydraException, OmegaConfBaseException) as error:  # Hydra's are of samplers and pruners
        parser.error(str(error))


def replays(question: SearchQuestion, options: argparse.Namespace) -> int:
    curves = Curves.read(options.curves, question)
    missing = sum(point not in curves.at for point in question.grid())
    if missing:
        raise ConfigError([f"{options.curves} lacks {missing} points; --record trains them"])
    ours, earlier, judged = dict[str, ConfigSnapshot](), dict[str, ConfigSnapshot](), list[str]()
    before = question.of_earlier_study().snapshot(sampler=options.sampler)
    for pruner, branched, prior in itertools.product((None, *options.pruners), (False, True), (False, True)):
        kinds = {
            options.sampler: options.sampler != SAMPLER,
            "branches": branched,
            "prior": prior,
            pruner: pruner is not None,
        }
        name = ", ".join([OURS, *(str(kind) for kind, chosen in kinds.items() if chosen)])
        ours[name] = question.snapshot(sampler=options.sampler, pruner=pruner, branched=branched)
        if prior:
            earlier[name] = before
        if not branched and pruner is None:
            judged.append(name)
    stock = question.snapshot(sampler=options.stock_sampler or options.sampler)
    count = options.replays or (20 if options.quick else 100)
    found = Contest(curves, stock, ours, WORKERS, earlier).replays(count, cores())
    results = {name: ContenderResult.of(name, found.costs) for name in found.costs}
    musts = [
        must
        for name in judged
        for must in (
            Must(f"epochs, {name} / stock", results[name].epochs_ratio, LIMITS["epochs"]),
            Must(f"simulated seconds, {name} / stock", results[name].seconds_ratio, LIMITS["seconds"]),
        )
    ]
    rows = list(results.values())
    if options.json:
        print(json.dumps(as_record(curves, found, rows, musts), indent=2, ensure_ascii=False))
    else:
        print(*as_text(curves, found, rows, musts), sep="\n")
    return verdict(musts, check=options.check)


def real(question: SearchQuestion, options: argparse.Namespace) -> int:
    if options.quick:
        question = question.shortened(epochs=3)
    done = compare(
        question,
        sampler=options.sampler,
        stock_sampler=options.stock_sampler or options.sampler,
        pruner=next(iter(options.pruners), None),
        launcher=options.launcher,
        trials=4 if options.quick else STOCK_TRIALS,
        steps=20 if options.quick else 300,
    )
    share = done.overhead_percent
    musts = [Must("overhead per trial, % of a 15-epoch m3 trial", Spread(share, share, share), OVERHEAD_PERCENT)]
    environment = describe_environment(torch.device("cpu"))
    if options.json:
        record = {"environment": environment, **asdict(done), "musts": [must.record() for must in musts]}
        print(json.dumps(record, indent=2, ensure_ascii=False))
        return verdict(musts, check=options.check)
    print(machine_line(environment))
    print(f"stock with launcher {options.launcher}, then ours; {cores()} workers each")
    print(done.stock.text(), done.ours.text(), sep="\n")
    print(f"overhead of ours: {done.overhead_s:.2f} s per trial; m3, 15 epochs, one thread: {done.m3_trial_s:.0f} s")
    print(*(must.text() for must in musts), sep="\n")
    return verdict(musts, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
