"""Faults in the compiled layers, the parameter counts and the budget."""

from tests.mutants.fault import fault

BLOCKS = "mnist_compact/models/blocks.py"
KERNELS, MOMENTS = "mnist_compact/models/kernels/batch_norm.py", "mnist_compact/models/kernels/moments.py"
LAYERS, NETWORKS, RUNS = (
    "tests/models/test_norm_dropout.py",
    "tests/models/test_networks.py",
    "tests/runs/test_trainer.py",
)
STAGES, STAGE_TESTS = "mnist_compact/models/stages.py", "tests/models/test_stages.py"


FAULTS = (
    fault(
        KERNELS,
        "variance[c] * (count / max(count - 1, 1))",
        "variance[c]",
        "running variances are divided by n and not by n - 1",
        LAYERS,
    ),
    fault(
        MOMENTS,
        "rows.dtype.type(means[channel] * channels / (BLOCKS * totals.size))",
        "0.0",
        "a standard deviation much smaller than the mean is computed with few correct digits",
        f"{LAYERS}::test_moments_are_accurate_for_any_mean_and_spread",
    ),
    fault(
        "mnist_compact/models/norm_dropout.py",
        "of_x = torch.empty_like(gradient)",
        "of_x = gradient",
        "a gradient that other layers still read is overwritten",
        f"{LAYERS}::test_gradients_with_other_uses_of_input_and_output",
    ),
    fault(
        "mnist_compact/models/kernels/numbers.py",
        "bits + np.uint32(0x7FFF) + tie",
        "bits",
        "numbers are rounded towards zero to bfloat16",
        f"{LAYERS}::test_bfloat16_is_rounded_like_torch_rounds",
    ),
    fault(
        "mnist_compact/models/network.py",
        "enabled=False",
        "enabled=torch.is_autocast_enabled(images.device.type)",
        "the head computes in bfloat16",
        NETWORKS,
    ),
    fault(
        "mnist_compact/models/summary.py",
        "for n, trained in sizes if not trained)",
        "for n, trained in sizes if False)",
        "frozen weights are not counted as parameters",
        NETWORKS,
    ),
    fault(
        "mnist_compact/training/config.py",
        "if below is not None and parameters >= below:\n            faults",
        "if below is not None and parameters > below:\n            faults",
        "a network with exactly as many parameters as the limit is accepted",
        RUNS,
    ),
    fault(
        "mnist_compact/training/config.py",
        "if self.max_epochs is not None and epochs > self.max_epochs:",
        "if self.max_epochs is not None and epochs > self.max_epochs + 1:",
        "a run of one epoch more than the limit is accepted",
        RUNS,
    ),
    fault(
        BLOCKS,
        "nn.Conv2d(channels, width, 1, bias=False)",
        "nn.Conv2d(channels, width, 1)",
        "the projection of a residual layer has a bias",
        f"{NETWORKS}::test_layer_has_the_expected_biases",
    ),
    fault(
        BLOCKS,
        "groups=channels, bias=False)",
        "groups=channels, bias=True)",
        "the depthwise half of a separable layer has a bias",
        f"{NETWORKS}::test_layer_has_the_expected_biases",
    ),
    fault(
        BLOCKS,
        "groups=channels, bias=False)",
        "groups=channels, bias=bias)",
        "with `conv_bias` the depthwise half of a separable layer has a bias",
        f"{NETWORKS}::test_layer_has_the_expected_biases",
    ),
    fault(
        BLOCKS,
        "nn.Conv2d(channels, width, 1, bias=bias),",
        "nn.Conv2d(channels, width, 1, bias=False),",
        "`conv_bias` is ignored in separable layers",
        f"{NETWORKS}::test_layer_has_the_expected_biases",
    ),
    fault(
        BLOCKS,
        "stride=stride, padding=padding, bias=bias)]",
        "stride=stride, padding=padding, bias=False)]",
        "`conv_bias` is ignored in convolutions",
        f"{NETWORKS}::test_layer_has_the_expected_biases",
    ),
    fault(
        "mnist_compact/models/network.py",
        "nn.Conv2d(channels, width, 1, bias=head.bias)",
        "nn.Conv2d(channels, width, 1)",
        "`head.bias` is ignored in a convolutional head",
        f"{NETWORKS}::test_head_has_the_expected_biases",
    ),
    fault(
        "mnist_compact/models/network.py",
        "nn.Linear(channels, width, bias=head.bias)",
        "nn.Linear(channels, width)",
        "`head.bias` is ignored in a linear head",
        f"{NETWORKS}::test_head_has_the_expected_biases",
    ),
    fault(
        BLOCKS,
        "[act, *norms, *dropouts] if first else [*norms, act, *dropouts]",
        "[*norms, act, *dropouts]",
        "`block_order` is ignored with channel dropout",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "[act, *norms, *dropouts] if first else [*norms, act, *dropouts]",
        "[act, *norms, *dropouts]",
        "activations other than ReLU always come before the norm",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "ReluPosition.before if first else ReluPosition.after",
        "ReluPosition.after",
        "`block_order` is ignored with ReLU",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "norm is Norm.batch and first and dropout_kind is DropoutKind.element",
        "norm is Norm.batch and dropout_kind is DropoutKind.element",
        "`block_order` is ignored with activations other than ReLU",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "activation is Activation.relu and dropout_kind is DropoutKind.element",
        "activation is Activation.relu",
        "channel dropout drops single activations",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "norm is Norm.batch and first and dropout_kind is DropoutKind.element",
        "norm is Norm.batch and first",
        "channel dropout drops single activations if the activation comes first",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "return [act, NormDropout(width, dropout)]",
        "return [act, NormDropout(width)]",
        "dropout is ignored if an activation other than ReLU comes first",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        BLOCKS,
        "[DROPOUTS[dropout_kind](dropout)] if dropout else []",
        "[DROPOUTS[DropoutKind.channel](dropout)] if dropout else []",
        "dropout without a fused layer drops whole channels",
        f"{NETWORKS}::test_block_agrees_with_torch_in_every_order_with_dropout",
    ),
    fault(
        STAGES,
        "number > stage.depth - stage.unpadded",
        "number <= stage.unpadded",
        "the first layers of a stage are unpadded instead of the last ones",
        f"{STAGE_TESTS}::test_stage_applies_each_of_its_settings",
    ),
    fault(
        STAGES,
        "stage.pool if number == stage.depth else Pool.none",
        "stage.pool if number == 1 else Pool.none",
        "a stage pools after its first layer",
        f"{STAGE_TESTS}::test_experiment_has_the_layers_of_its_evidence",
    ),
    fault(
        STAGES,
        "for name in self.order:",
        "for name in self.stages:",
        "stages are built in the order of the mapping instead of the order that `order` gives",
        f"{STAGE_TESTS}::test_order_and_not_the_mapping_decides",
    ),
)
