"""The text of `python -m mnist_compact --help`. It does not import Hydra, which takes longer than all the rest."""

from mnist_compact.config.schema import GROUPS, configuration_folder, sweeps_folder

ABOUT_GROUPS = {
    "data": "training and evaluation images",
    "model": "the network",
    "augment": "augmentation of the training images",
    "optim": "the optimizer",
    "scheduler": "the learning-rate schedule",
    "train": "epochs, batch size, label smoothing, weight averaging, precision",
    "budget": "limits on parameters and epochs",
    "machine": "device, threads, folder of the images; does not change the configuration that is compared",
    "callbacks": "observers of a run; several: [tensorboard,mlflow]; own: +callbacks.mine.path=<module>.<class>",
    "experiment": "named configurations: changes to the other groups",
    "sweeps": "search questions, for use with -m",
}
assert set(ABOUT_GROUPS) == {*GROUPS, "callbacks", "experiment", "sweeps"}, "every group is explained in --help"
TEXT = """\
Train compact CNNs on MNIST, search over their configurations and compare the runs.

== Usage ==
python -m mnist_compact [GROUP=OPTION …] [KEY=VALUE …]     or: mnist-compact …

  python -m mnist_compact model=m3 optim=adam              one run of 15 epochs
  python -m mnist_compact experiment=m3_logged seed=1      a named configuration
  python -m mnist_compact model=m3 optim.lr=0.02 model.dropout=0
  python -m mnist_compact -m model=m1,m2,m3 seed=0,1       every combination, then a comparison
  python -m mnist_compact -m sweeps=smoke                  a search; rerun the command to continue it
  python -m mnist_compact resume=outputs/runs/…            continue a run that was killed or interrupted
  python -m mnist_compact resume=outputs/grids/…           finish a grid
  python -m mnist_compact rerun=outputs/runs/… seed=1      train a saved configuration again
  python -m mnist_compact data=synthetic train=quick       offline, in seconds
  python -m mnist_compact --cfg job                        print the configuration and train nothing

== Groups ==
{groups}

== Keys ==
The keys that are set most often:

  seed=0                        draws weights, image order, augmentation and dropout
  optim.lr=0.01                 peak learning rate
  optim.weight_decay=1e-4
  train.epochs=15
  train.batch_size=128
  train.average_epochs=5        also score an average of the weights of the last 5 epochs
  model.dropout=0.05            probability after every layer; 0 = off
  model.layers.conv3.width=12   a key of one layer
  augment.rotation_deg=8        rotate each training image by up to 8 degrees
  machine.threads=1             CPU threads; 0 = the default of torch
  hydra.sweeper.n_trials=60     trials of a search

All keys and their values:  python -m mnist_compact --cfg job
Their types and meanings:   docs/reference/configuration.md

== Other commands ==
python -m mnist_compact.report --help       compare runs
python -m mnist_compact.study --help        list, show, export and import searches
python -m mnist_compact.confirm --help      train one configuration with fresh seeds, or rank the best trials again
python -m mnist_compact.evaluate --help     score a trained network
python -m mnist_compact.zoo --help          list the trained networks of the package
python -m mnist_compact.predict --help      recognise the digits in picture files
python -m mnist_compact.draw --help         write a page on which a network recognises a drawn digit
python -m mnist_compact.export --help       export a network to ONNX or C

Hydra's own options:  python -m mnist_compact --hydra-help

Documentation: README.md and docs/
"""


def help_text() -> str:
    """Return the help: usage, the groups with their options, the keys that are set most often, other commands."""
    return TEXT.format(groups=describe_groups()).rstrip()


def describe_groups() -> str:
    """Return the list of groups: their options and what they determine."""
    conf = configuration_folder()
    lines = []
    for group, about in ABOUT_GROUPS.items():
        folder = sweeps_folder() if group == "sweeps" else conf / group
        options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        lines.append(f"{group:10} {options}\n{'':10}   {about}")
    return "\n".join(lines)
