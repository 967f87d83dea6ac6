"""The searches in sweeps/: each states its purpose, composes, and can be run without changes."""

from contextlib import closing
from itertools import chain, product

import optuna
import pytest
from hydra import compose
from optuna.distributions import CategoricalDistribution

from mnist_compact.common.errors import ConfigError, OverBudgetError
from mnist_compact.config.schema import sweeps_folder
from mnist_compact.config.sweeps_source import SweepsSource
from mnist_compact.runs.trainer import check
from mnist_compact.search.builders import space_of
from mnist_compact.search.coordinator import Coordinator
from mnist_compact.search.snapshot import Composer

QUESTIONS = sorted(path.stem for path in sweeps_folder().glob("*.yaml"))


# The others run by hand, because these two cover their features.
IN_THE_GATE = ("under_8k", "smoke")
BY_HAND = [
    question if question in IN_THE_GATE else pytest.param(question, marks=pytest.mark.slow) for question in QUESTIONS
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_states_its_purpose(question):
    header = (sweeps_folder() / f"{question}.yaml").read_text().partition("\ndefaults:")[0]
    for word in ("question:", "searched:", "nuisance", "fixed:", "budget:"):
        assert word in header.lower()


@pytest.mark.parametrize("question", BY_HAND)
def test_question_can_be_searched(configure, question):
    # `configure` keeps Hydra initialized with conf/ during the tests.
    config = compose("config", overrides=[f"sweeps={question}"], return_hydra_config=True)
    parent = Coordinator(config, [f"sweeps={question}"])
    parent.check()  # checks the split, every key and option and every enqueued point
    assert parent.name == question
    assert space_of(parent.snapshot).keys()


def options(space):
    """Overrides for each choice and each end of a range of the space, with the condition of its branch."""
    for when, parameters in (({}, space.parameters), *((branch.when, branch.parameters) for branch in space.branches)):
        for parameter, condition in product(parameters, product(*when.values())):
            found = parameter.distribution
            ends = found.choices if isinstance(found, CategoricalDistribution) else (found.low, found.high)
            yield from ([*map("=".join, zip(when, condition, strict=True)), f"{parameter.key}={end}"] for end in ends)


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_starting_points_are_complete_and_within_the_budget(configure, question):
    config = compose("config", overrides=[f"sweeps={question}"], return_hydra_config=True)
    parent = Coordinator(config, [f"sweeps={question}"])
    parent.check()
    space = space_of(parent.snapshot)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with closing(Composer(parent.snapshot, space.fixed)) as composer:
        for point in parent.points:
            study.enqueue_trial(point)
            trial = study.ask()
            check(composer.run_config(space.suggest(trial, parent.known.get)))
            assert trial.params == pytest.approx(point)  # the sampler chooses nothing


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_choice_can_be_built(configure, question):
    """Each choice can be built with the default values, or together with one other choice.

    A choice that is over the budget there may be within it elsewhere.
    """
    config = compose("config", overrides=[f"sweeps={question}"], return_hydra_config=True)
    snapshot = Coordinator(config, [f"sweeps={question}"]).snapshot
    space = space_of(snapshot)
    with closing(Composer(snapshot, space.fixed)) as composer:

        def builds(*chosen):
            try:
                check(composer.run_config(list(chain(*chosen))))
            except OverBudgetError:
                return True
            except ConfigError:
                return False
            return True

        found = list(options(space))
        assert not [one for one in found if not builds(one) and not any(builds(other, one) for other in found)]


def test_search_path_source_offers_only_the_group_sweeps():
    source = SweepsSource("test", "sweeps://questions")
    assert source.available()
    assert source.list("", None) == ["sweeps"]
    assert source.list("sweeps", None) == QUESTIONS
    for beside in ("tests", "outputs", "conf", "mnist_compact"):
        assert not source.is_group(beside)
        assert source.list(beside, None) == []
    assert not source.is_config("conf/config")
