"""The description of the machine in a record."""

from importlib.metadata import PackageNotFoundError, version

import torch

from mnist_compact.training.device import describe_environment


def test_checkout_without_installation_is_described(monkeypatch):
    def missing(package):
        if package == "mnist-compact":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr("mnist_compact.training.device.version", missing)
    versions = describe_environment(torch.device("cpu"))["versions"]
    assert versions["mnist-compact"] == "not installed"
    assert versions["torch"] == version("torch")
