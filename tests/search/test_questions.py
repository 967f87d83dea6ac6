"""The questions in sweeps/: each says what it asks, composes, and can be searched as it stands."""

from contextlib import closing
from itertools import chain, product

import optuna
import pytest
from hydra import compose
from optuna.distributions import CategoricalDistribution

from mnist_compact.common.errors import ConfigError, OverBudgetError
from mnist_compact.config.sweeps_source import SweepsSource, sweeps_folder
from mnist_compact.runs.trainer import check
from mnist_compact.search.builders import space_of
from mnist_compact.search.coordinator import Coordinator
from mnist_compact.search.snapshot import Composer

QUESTIONS = sorted(path.stem for path in sweeps_folder().glob("*.yaml"))


# Of the others by hand: what they are made of is in these two as well.
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
def test_a_question_can_be_searched(configure, question):
    # `configure` has Hydra look at conf/ as long as the tests run.
    config = compose("config", overrides=["hydra/help=default", f"sweeps={question}"], return_hydra_config=True)
    parent = Coordinator(config, [f"sweeps={question}"])
    parent.check()  # the split, every key and option, every enqueued point
    assert parent.name == question
    assert space_of(parent.snapshot).keys()


def options(space):
    """Overrides, one for each choice or end of a range of the space, with the condition it has."""
    for when, parameters in (({}, space.parameters), *((branch.when, branch.parameters) for branch in space.branches)):
        for parameter, condition in product(parameters, product(*when.values())):
            found = parameter.distribution
            ends = found.choices if isinstance(found, CategoricalDistribution) else (found.low, found.high)
            yield from ([*map("=".join, zip(when, condition, strict=True)), f"{parameter.key}={end}"] for end in ends)


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_starting_points_are_complete_and_within_the_budget(configure, question):
    config = compose("config", overrides=["hydra/help=default", f"sweeps={question}"], return_hydra_config=True)
    parent = Coordinator(config, [f"sweeps={question}"])
    parent.check()
    space = space_of(parent.snapshot)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with closing(Composer(parent.snapshot, space.fixed)) as composer:
        for point in parent.points:
            study.enqueue_trial(point)
            trial = study.ask()
            check(composer.run_config(space.suggest(trial, parent.known.get)))
            assert trial.params == pytest.approx(point)  # nothing is left to the sampler


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_choice_is_dead(configure, question):
    """Each makes a run that can be built where the rest is as it comes, or with one other choice beside it.

    What is over the budget there need not be so elsewhere.
    """
    config = compose("config", overrides=["hydra/help=default", f"sweeps={question}"], return_hydra_config=True)
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


def test_sweeps_is_the_only_group_its_source_offers():
    source = SweepsSource("test", "sweeps://questions")
    assert source.available()
    assert source.list("", None) == ["sweeps"]
    assert source.list("sweeps", None) == QUESTIONS
    for beside in ("tests", "outputs", "conf", "mnist_compact"):
        assert not source.is_group(beside)
        assert source.list(beside, None) == []
    assert not source.is_config("conf/config")
