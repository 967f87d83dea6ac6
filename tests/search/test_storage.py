"""Where a study is kept, opened."""

import optuna

from mnist_compact.search.storage import open_storage


def test_a_journals_torn_last_line_is_mended(tmp_path):
    """As a writer leaves it that is killed in the middle of a line: on opening, and for a peer that goes on."""
    file, url = tmp_path / "study.log", f"journal://{tmp_path}/study.log"
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    for opened in (study, optuna.load_study(storage=open_storage(url), study_name="s")):
        opened.tell(opened.ask(), 1.0)
        with file.open("ab") as torn:
            torn.write(b'{"op_code":4,"worker_id":"x","study')
        opened.tell(opened.ask(), 2.0)  # a line behind it
        with file.open("ab") as torn:
            torn.write(b'{"op_co')
    open_storage(url)
    assert file.read_bytes().endswith(b"}\n")
    found = optuna.load_study(storage=open_storage(url), study_name="s").trials
    assert [trial.value for trial in found] == [1.0, 2.0, 1.0, 2.0]
