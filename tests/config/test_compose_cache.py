"""A configuration that is assembled from cached options equals the one that Hydra composes directly."""

import pytest
from hydra import compose
from hydra.errors import ConfigCompositionException

from mnist_compact.config.compose_cache import ComposeCache
from mnist_compact.config.schema import GROUPS


@pytest.fixture
def compose_cache(configure):  # `configure` keeps Hydra initialized with conf/ during the tests
    composed = []

    def once(options):
        composed.append(options)
        return compose("config", overrides=options)

    return ComposeCache(once, {*GROUPS, "experiment"}.__contains__), composed


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optim=sgd", "optim.lr=0.3", "optim.momentum=0"],
        ["optim.lr=0.3", "optim=sgd"],  # a value before the option that it belongs to
        ["experiment=m3_logged", "optim=sgd", "seed=4"],
        ["model.order=[conv1,conv3]", "model.layers.conv1={width: 5, pool: max}"],
        ["experiment=under_8k", "train.epochs=3", "train.epochs=4"],
        ["seed=${train.epochs}"],
    ],
    ids=" ".join,
)
def test_composition_equals_that_of_hydra(compose_cache, overrides):
    assert compose_cache[0](overrides) == compose("config", overrides=overrides)


def test_options_are_composed_once_without_earlier_values(compose_cache):
    choose, composed = compose_cache
    first = choose(["optim=sgd", "optim.lr=0.3", "model.layers.conv1.width=3"])
    second = choose(["optim=sgd"])
    assert (first.optim.lr, first.model.layers.conv1.width) == (0.3, 3)
    assert second == compose("config", overrides=["optim=sgd"])
    assert choose(["optim=adam", "seed=2"]).seed == 2
    assert composed == [["optim=sgd"], ["optim=adam"]]


def test_unknown_key_has_the_error_message_of_hydra(compose_cache):
    with pytest.raises(ConfigCompositionException) as ours:
        compose_cache[0](["optim.lrr=1"])
    with pytest.raises(ConfigCompositionException) as hydras:
        compose("config", overrides=["optim.lrr=1"])
    assert str(ours.value) == str(hydras.value)
