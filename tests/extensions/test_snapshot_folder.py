"""Snapshots in a folder that is not empty: what is there is kept."""

import os

import pytest
from snapshot_trainings import about, iterations, train, training

from support.files import read_arrays


def contents(folder):
    """Content of every snapshot in the folder and below it."""
    return {path.read_bytes() for path in folder.rglob("snapshot_iter_*")}


class TestATrainingThatBegins:
    @pytest.mark.parametrize(
        "options",
        [{"fixed": {"--unit": 4}}, {"seed": 1}, {"changeable": {"--lr": 0.1}}, {"epochs": 3}, {}],
        ids=["other options", "another seed", "another rate", "longer", "the same"],
    )
    def test_keeps_all_that_it_finds(self, tmp_path, options):
        train(tmp_path)
        before = contents(tmp_path)
        train(tmp_path, **options)
        assert before < contents(tmp_path)
        assert iterations(tmp_path / "earlier-1") == list(range(1, 13))

    def test_says_where_they_are(self, tmp_path, capsys):
        train(tmp_path)
        assert capsys.readouterr().out == ""
        train(tmp_path)
        assert capsys.readouterr().out == f"Earlier snapshots are now in {tmp_path}/earlier-1\n"

    def test_again_and_again_keeps_those_of_each(self, tmp_path):
        for every in 4, 3, 6, 12:
            train(tmp_path, every=every)
        assert iterations(tmp_path / "earlier-1") == [4, 8, 12]
        assert iterations(tmp_path / "earlier-2") == [3, 6, 9, 12]
        assert iterations(tmp_path / "earlier-3") == [6, 12]

    def test_counts_on_where_an_earlier_folder_was_removed(self, tmp_path):
        (tmp_path / "earlier-9").mkdir()
        (tmp_path / "earlier-note").mkdir()
        train(tmp_path, every=12)
        train(tmp_path, every=12)
        assert iterations(tmp_path / "earlier-10") == [12]

    def test_that_is_cut_short_while_it_moves_them_leaves_the_newest(self, tmp_path, monkeypatch):
        train(tmp_path)
        before = contents(tmp_path)
        rename, left = os.rename, [1] * 5

        def cut_short(*arguments):
            left.pop()
            rename(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", cut_short)
            with pytest.raises(IndexError):
                train(tmp_path)
        assert iterations(tmp_path) == list(range(6, 13))
        assert contents(tmp_path) == before


class TestATrainingThatGoesOn:
    def go_on(self, folder, path, **options):
        trainer, snapshot = training(folder, epochs=3, **options)
        snapshot.resume(str(path), trainer)
        trainer.run()

    def test_from_the_newest_moves_nothing(self, tmp_path):
        train(tmp_path)
        self.go_on(tmp_path, tmp_path / "snapshot_iter_12")
        assert iterations(tmp_path) == list(range(1, 19))
        assert not (tmp_path / "earlier-1").exists()

    @pytest.mark.parametrize("place", ["here", "elsewhere"])
    def test_from_a_link_to_the_newest_moves_nothing(self, tmp_path, place):
        train(tmp_path / "here")
        link = tmp_path / place / "latest"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(tmp_path / "here" / "snapshot_iter_12")
        self.go_on(tmp_path / "here", link)
        assert iterations(tmp_path / "here") == list(range(1, 19))

    def test_from_an_older_one_keeps_those_after_it(self, tmp_path):
        train(tmp_path)
        run = about(tmp_path / "snapshot_iter_12")
        self.go_on(tmp_path, tmp_path / "snapshot_iter_4", every=5, changeable={"--lr": 0.1})
        assert iterations(tmp_path) == [1, 2, 3, 4, 5, 10, 15, 18]
        assert iterations(tmp_path / "earlier-1") == list(range(5, 13))
        assert about(tmp_path / "earlier-1" / "snapshot_iter_12") == run

    def test_from_elsewhere_keeps_what_it_finds(self, tmp_path):
        train(tmp_path / "a", every=3)
        train(tmp_path / "b", every=4)
        self.go_on(tmp_path / "b", tmp_path / "a" / "snapshot_iter_12", every=18)
        assert iterations(tmp_path / "b" / "earlier-1") == [4, 8, 12]
        assert iterations(tmp_path / "b") == [18]

    def test_from_an_earlier_run_keeps_the_later_one(self, tmp_path):
        train(tmp_path, every=6)
        train(tmp_path, every=4)
        self.go_on(tmp_path, tmp_path / "earlier-1" / "snapshot_iter_6", every=18)
        assert iterations(tmp_path / "earlier-1") == [6, 12]
        assert iterations(tmp_path / "earlier-2") == [4, 8, 12]
        assert iterations(tmp_path) == [18]

    def test_keeps_the_damaged_one_that_it_has_passed_over(self, tmp_path):
        train(tmp_path, every=6)
        (tmp_path / "snapshot_iter_12").write_bytes(b"a part")
        trainer, snapshot = training(tmp_path)
        snapshot.resume_newest(trainer)
        trainer.run()
        assert (tmp_path / "earlier-1" / "snapshot_iter_12").read_bytes() == b"a part"
        assert read_arrays(str(tmp_path / "snapshot_iter_12"))
