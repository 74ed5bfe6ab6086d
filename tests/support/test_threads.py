import numpy as np
import pytest
import threadpoolctl

from support import threads
from training.options import step_operations


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """A user who has said nothing; the threads are given back after the test."""
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def n_threads():
    return threads.arithmetic()["BLAS threads"]


class TestArithmetic:
    def test_tells_what_digits_depend_on(self):
        found = threads.arithmetic()
        assert found["NumPy"] == np.__version__
        assert found["BLAS"].split()[0] in ("openblas", "mkl", "blis")
        assert found["BLAS kernel"]
        assert found["BLAS threads"] == 1

    def test_is_that_of_numpys_library_among_others(self, monkeypatch):
        library = {"user_api": "blas", "internal_api": "openblas", "version": "1", "num_threads": 3}
        others = {**library, "filepath": "/lib/libopenblas.so", "num_threads": 7}
        own = {**library, "filepath": "/lib/numpy.libs/libopenblas.so"}
        openmp = {"user_api": "openmp", "filepath": "/lib/numpy.libs/libgomp.so"}
        monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [openmp, others, own])
        assert n_threads() == 3

    def test_of_an_unknown_library_tells_numpys_version_only(self, monkeypatch):
        monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
        assert threads.arithmetic() == {"NumPy": np.__version__}


class TestThreadsAsBefore:
    @pytest.fixture(autouse=True)
    def two_cores(self, monkeypatch):
        monkeypatch.setattr(threads, "cores", lambda: 2)

    def test_are_used(self):
        threads.use_threads_as_before(2)
        assert n_threads() == 2

    @pytest.mark.parametrize("number", [3, 0, -1, "2", 2.0, None])
    def test_are_not_used_where_there_are_fewer_cores_or_it_is_no_number(self, number):
        threads.use_threads_as_before(number)
        assert n_threads() == 1

    @pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"])
    def test_are_not_used_where_the_user_has_chosen(self, monkeypatch, name):
        monkeypatch.setenv(name, "1")
        threads.use_threads_as_before(2)
        assert n_threads() == 1


class TestChoice:
    @pytest.fixture(autouse=True)
    def two_cores(self, monkeypatch):
        monkeypatch.setattr(threads, "cores", lambda: 2)
        monkeypatch.setattr(threads, "_asked", False)

    @pytest.mark.parametrize(
        ("arch", "n_units", "batch_size", "expected"),
        [
            ("rnn", 100, 10, 1),
            ("lstm", 100, 10, 1),
            ("lstm", 200, 10, 1),
            ("gru", 256, 32, 2),
            ("lstm", 650, 20, 2),
        ],
    )
    def test_is_one_thread_unless_products_are_large(self, arch, n_units, batch_size, expected):
        threads.choose_threads(step_operations(arch, n_units, batch_size))
        assert n_threads() == expected

    @pytest.mark.parametrize("name", threads.VARIABLES)
    def test_leaves_what_the_environment_names(self, monkeypatch, name):
        monkeypatch.setenv(name, "2")
        threads.use_threads(2)
        threads.choose_threads(1)
        assert n_threads() == 2

    def test_is_what_was_asked_for_and_no_snapshot_changes_it(self):
        threads.choose_threads(1, asked=2)
        threads.use_threads_as_before(1)
        assert n_threads() == 2

    @pytest.mark.parametrize("name", ["MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE"])
    def test_of_processes_on_one_machine_shares_its_cores(self, monkeypatch, name):
        monkeypatch.setattr(threads, "cores", lambda: 2)
        monkeypatch.setenv(name, "2")
        threads.choose_threads(10**9)
        assert n_threads() == 1

    def test_of_a_snapshot_is_not_more_than_a_process_has_cores_of_its_own(self, monkeypatch):
        monkeypatch.setattr(threads, "cores", lambda: 2)
        monkeypatch.setenv("MPI_LOCALNRANKS", "2")
        threads.choose_threads(1)
        threads.use_threads_as_before(2)
        assert n_threads() == 1
        monkeypatch.setenv("MPI_LOCALNRANKS", "1")
        threads.use_threads_as_before(2)
        assert n_threads() == 2
