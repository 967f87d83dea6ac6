"""The gain from capturing a step on an NVIDIA GPU: `python -m benchmarks.gpu [--quick] [--json] [--synthetic]`.

It compares whole epochs of `train_epoch` with kernels that are launched one by one, with kernels that are replayed from
a captured graph, and with the processor of the same machine on one thread, which gets fewer batches.
"""

import argparse
import json
import sys

import torch

from benchmarks.contenders import Ours
from benchmarks.setup import configured, images
from benchmarks.timing import Measure, Spread, interleave, machine_line, paired
from mnist_compact.config.composition import compose
from mnist_compact.training.device import describe_environment, prepare

NETWORKS = {  # name → its configuration
    "m3_reference": configured(),
    "under_8k_plain": compose("experiment=under_8k_plain"),
    "fast": compose("experiment=fast"),
}
WAYS = ("plain", "captured")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="every sample")
    parser.add_argument("--synthetic", action="store_true", help="use random images of MNIST's size instead of MNIST")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("this benchmark needs an NVIDIA GPU, but torch finds none", file=sys.stderr)
        return 2
    device = torch.device("cuda:0")
    prepare(1, device)
    data = images(synthetic=options.synthetic)
    batches, on_the_cpu, rounds = (60, 4, 3) if options.quick else (400, 30, 7)
    measures: dict[str, Measure] = {}
    for name, config in NETWORKS.items():
        for way in WAYS:
            measures[f"{name}/{way}"] = Ours(config, data, batches, device=device, plain=way == "plain").train
        measures[f"{name}/processor"] = Ours(config, data, on_the_cpu).train
    samples = interleave(measures, rounds)
    environment = describe_environment(device)
    if options.json:
        print(json.dumps({"environment": environment, "samples": samples}))
        return 0
    print(f"{environment['device']}; {machine_line(environment)}")
    print(f"{rounds} rounds of {batches} batches, on the processor {on_the_cpu}")
    print("ms a batch; median [lowest–highest] of the rounds, ratios within a round\n")
    columns = ("plain", "captured", "processor", "plain/captured", "processor/captured")
    print(f"{'':16}" + "".join(f"{column:>24}" for column in columns))
    for name in NETWORKS:
        plain, captured, processor = (samples[f"{name}/{way}"] for way in (*WAYS, "processor"))
        row = (
            *(Spread.of(times) for times in (plain, captured, processor)),
            *(paired(times, captured) for times in (plain, processor)),
        )
        print(f"{name:16}" + "".join(f"{spread.text():>24}" for spread in row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
