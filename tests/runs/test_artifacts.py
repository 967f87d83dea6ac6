"""The files of a run that are written for people."""

import yaml

from mnist_compact.config.schema import to_record
from mnist_compact.records.record import NetworkFacts, RunRecord, Status
from mnist_compact.runs.artifacts import write_config


def test_config_file_is_valid_yaml_for_any_overrides(configure, tmp_path):
    config = to_record(configure("data=holdout", "machine.data_root='new\nline'"))
    facts = NetworkFacts(parameters=1, trainable_parameters=1, macs=1, receptive_field=1, input_shape=[1, 28, 28])
    typed = ["machine.data_root='new\nline'", "seed=1\x07\u2028"]
    write_config(
        tmp_path, RunRecord(status=Status.RUNNING, config=config, overrides=typed, evaluated="", network=facts)
    )
    text = (tmp_path / "config.yaml").read_text()
    assert yaml.safe_load(text) == config
    assert text.splitlines()[:2] == [
        "# overrides: machine.data_root='new\\nline' seed=1\\x07\\u2028",
        "# run it again: python -m mnist_compact rerun=<this folder>",
    ]
