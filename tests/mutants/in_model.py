"""Faults in the compiled layers, in the counts of parameters and in the budget."""

from tests.mutants.fault import fault

KERNELS, MOMENTS = "mnist_compact/model/kernels.py", "mnist_compact/model/moments.py"
LAYERS, NETWORKS, RUNS = "tests/model/test_norm_dropout.py", "tests/model/test_networks.py", "tests/test_experiment.py"


FAULTS = (
    fault(
        KERNELS,
        "variance[c] * (count / max(count - 1, 1))",
        "variance[c]",
        "running variances are too small by one part in the images",
        LAYERS,
    ),
    fault(
        MOMENTS,
        "rows.dtype.type(means[channel] * channels / (BLOCKS * totals.size))",
        "0.0",
        "spreads much smaller than the mean lose their digits",
        f"{LAYERS}::test_moments_keep_their_digits_whatever_mean_and_spread",
    ),
    fault(
        "mnist_compact/model/norm_dropout.py",
        "of_x = torch.empty_like(gradient)",
        "of_x = gradient",
        "a gradient that others read is written over",
        f"{LAYERS}::test_gradients_are_torchs_whoever_else_reads_input_and_output",
    ),
    fault(
        "mnist_compact/model/anatomy.py",
        "for n, trained in sizes if not trained)",
        "for n, trained in sizes if False)",
        "frozen weights do not count",
        NETWORKS,
    ),
    fault(
        "mnist_compact/training/configs.py",
        "if below is not None and parameters >= below:\n            faults",
        "if below is not None and parameters > below:\n            faults",
        "as many parameters as the limit pass",
        RUNS,
    ),
    fault(
        "mnist_compact/training/configs.py",
        "if self.max_epochs is not None and epochs > self.max_epochs:",
        "if self.max_epochs is not None and epochs > self.max_epochs + 1:",
        "an epoch more than the limit passes",
        RUNS,
    ),
)
