"""What a training step costs: `python -m benchmarks.epoch [--quick] [--json] [--synthetic] [--check] [--threads N]`.

Four networks (m3 with dropout 0.05, m3 without dropout, the 8K model, and experiment=under_8k) are trained by three
programs in one process, one after the other in each round: the usual torchvision pipeline (per-image transforms,
DataLoader with 0 or 2 workers, plain layers; not for under_8k, whose layers it does not know), this project's
`train_epoch`, and as a floor only the network's convolutions in float32 in the faster memory layout. It also measures
the same epoch in bfloat16 where the processor has such instructions, the same epoch with torch's BatchNorm and ReLU in
place of the kernels (dropout remains this project's), the data work, the evaluation, and the peak memory of a whole
run. The allocator settings of `prepare` affect all of them.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.contenders import Floor, Ours, Reference, reference_loader
from benchmarks.memory import RunMemory, memory_above_torch
from benchmarks.setup import configured, images
from benchmarks.timing import Measure, Must, Samples, Spread, fastest, interleave, machine_line, paired, verdict
from mnist_compact.training.device import describe_environment, has_bfloat16, prepare

NETWORKS = {  # name → overrides of experiment=m3_reference
    "m3": (),
    "m3 without dropout": ("model.dropout=0",),
    "8K": ("model=compact",),
}
UNDER_8K = "under_8k"
BFLOAT16 = ("train.precision=bfloat16",)
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
EPOCH_STEPS = 469  # 60,000 images in batches of 128


def contenders(batches: int, *, synthetic: bool) -> dict[str, Measure]:
    """Return measurements in ms by name. A name begins with the network's; the variants of a program share a prefix."""
    data, size = images(synthetic=synthetic), 128
    loaders = {workers: reference_loader(data, batches, size, workers) for workers in (0, 2)}
    measures: dict[str, Measure] = {}
    for name, overrides in {**NETWORKS, UNDER_8K: ("experiment=under_8k",)}.items():
        config = configured(*overrides)
        assert config.train.batch_size == size
        ours = Ours(config, data, batches)
        measures[f"{name}/ours"] = ours.train
        if has_bfloat16(torch.device("cpu")):
            measures[f"{name}/bfloat16"] = Ours(configured(*overrides, *BFLOAT16), data, batches).train
        measures[f"{name}/torch's norms"] = Ours(config, data, batches, norms_by_torch=True).train
        for layout, memory_format in LAYOUTS.items():
            measures[f"{name}/floor/{layout}"] = Floor(config.model.build(), size, memory_format, batches)
        if name == "m3":
            measures["data"], measures["evaluation"] = ours.load, ours.evaluate
    for name, overrides in NETWORKS.items():
        for workers, loader in loaders.items():
            measures[f"{name}/reference/{workers} workers"] = Reference(configured(*overrides), loader, batches)
    return measures


def summarise(samples: Samples) -> tuple[dict[str, dict[str, Any]], dict[str, Spread]]:
    """Return the times and ratios of each network, and the shares in per cent."""
    table: dict[str, dict[str, Any]] = {}
    for name in [*NETWORKS, UNDER_8K]:
        ours, floor = samples[f"{name}/ours"], fastest(samples, f"{name}/floor")
        bfloat16, reference = samples.get(f"{name}/bfloat16"), None
        table[name] = {
            "ours": Spread.of(ours),
            "floor": Spread.of(samples[floor]),
            "ours/floor": paired(ours, samples[floor]),
            "torch's norms/ours": paired(samples[f"{name}/torch's norms"], ours),
        }
        if name in NETWORKS:
            reference = fastest(samples, f"{name}/reference")
            table[name]["reference"] = Spread.of(samples[reference])
            table[name]["reference/ours"] = paired(samples[reference], ours)
        if bfloat16:
            table[name]["bfloat16"] = Spread.of(bfloat16)
            table[name]["ours/bfloat16"] = paired(ours, bfloat16)
            table[name]["bfloat16/floor"] = paired(bfloat16, samples[floor])
        if bfloat16 and reference:
            table[name]["reference/bfloat16"] = paired(samples[reference], bfloat16)
        kinds = [each.rpartition("/")[2] for each in (reference, floor) if each]
        table[name]["kinds"] = ", ".join(kinds)
    step = samples["m3/ours"]
    shares = {
        "dropout": paired(samples["m3 without dropout/ours"], step, lambda without, ours: 100 * (1 - without / ours)),
        "data, metrics and logging": paired(samples["data"], step, lambda data, ours: 100 * data / ours),
        "evaluation": paired(samples["evaluation"], step, lambda once, ours: 100 * once / (EPOCH_STEPS * ours)),
    }
    return table, shares


def musts(table: dict[str, dict[str, Any]], shares: dict[str, Spread], memory: RunMemory) -> list[Must]:
    limits = [
        Must("reference/ours, m3", table["m3"]["reference/ours"], 4, at_least=True),
        Must("ours/floor, m3 without dropout", table["m3 without dropout"]["ours/floor"], 1.8),
        Must("dropout, % of the step", shares["dropout"], 15),
        Must("data, metrics and logging, % of the step", shares["data, metrics and logging"], 8),
        Must("evaluation of 10,000 images, % of a training epoch", shares["evaluation"], 6),
        Must("memory of a run above `import torch`, MB", Spread.of([memory.later]), 300),
    ]
    if "bfloat16" in table["m3"]:
        limits += [
            Must("reference/bfloat16, m3", table["m3"]["reference/bfloat16"], 5.5, at_least=True),
            Must("bfloat16/floor, m3 without dropout", table["m3 without dropout"]["bfloat16/floor"], 1.6),
            Must("ours/bfloat16, under_8k", table[UNDER_8K]["ours/bfloat16"], 1.5, at_least=True),
        ]
    return limits


def print_table(table: dict[str, dict[str, Any]], limits: list[Must]) -> None:
    print("ms a batch of 128; median [lowest–highest] of the rounds, ratios within a round")
    for columns in (
        ("reference", "ours", "bfloat16", "floor", "kinds"),
        ("reference/ours", "ours/floor", "torch's norms/ours"),
        ("reference/bfloat16", "bfloat16/floor", "ours/bfloat16"),
    ):
        print(f"\n{'':20}" + "".join(f"{column:>26}" for column in columns))
        for name, row in table.items():
            cells = [row.get(column, "") for column in columns]
            print(f"{name:20}" + "".join(f"{c.text() if isinstance(c, Spread) else c:>26}" for c in cells))
    print()
    for must in limits:
        print(must.text())


def print_json(samples: Samples, table: dict[str, dict[str, Any]], limits: list[Must], about: dict[str, Any]) -> None:
    rows = {
        name: {key: asdict(value) if isinstance(value, Spread) else value for key, value in row.items()}
        for name, row in table.items()
    }
    record = {**about, "networks": rows, "musts": [must.record() for must in limits], "samples_ms": samples}
    print(json.dumps(record, indent=2, ensure_ascii=False))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.epoch", description="Measure the cost of a training step."
    )
    parser.add_argument(
        "--quick", action="store_true", help="3 rounds of 12 batches instead of 9 of 60; memory as with --synthetic"
    )
    parser.add_argument("--json", action="store_true", help="print JSON with every sample instead of the table")
    parser.add_argument("--synthetic", action="store_true", help="use random images instead of MNIST")
    parser.add_argument("--check", action="store_true", help="exit with 1 and name the limits that are missed")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch (default: 0, all cores)")
    return parser.parse_args()


def main() -> int:
    options = parse()
    rounds, batches = (3, 12) if options.quick else (9, 60)
    prepare(options.threads, torch.device("cpu"))
    torch.manual_seed(0)
    environment = describe_environment(torch.device("cpu"))
    memory = memory_above_torch(options.threads, synthetic=options.synthetic or options.quick)
    samples = interleave(contenders(batches, synthetic=options.synthetic), rounds)
    table, shares = summarise(samples)
    limits = musts(table, shares, memory)
    if options.json:
        about = {
            "environment": environment,
            "rounds": rounds,
            "batches": batches,
            "synthetic": options.synthetic,
            "memory_first_run_mb": memory.first,
        }
        print_json(samples, table, limits, about)
    else:
        data = "random images" if options.synthetic else "MNIST"
        print(f"{machine_line(environment)}\n{rounds} rounds of {batches} batches, {data}")
        print_table(table, limits)
        print(f"        the first run of an installation, which compiles the kernels: {memory.first:.0f} MB")
    return verdict(limits, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
