"""Files of arrays that were made to do harm."""

import bz2
import io
import lzma
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from archives import archive, assert_equal, npy, overwrite, seal

from support.files import BadFile, read_arrays, write_arrays


class WouldWriteAFile:
    """Unpickling this makes a file named ``executed``."""

    def __reduce__(self):
        return open, ("executed", "w")


class TestObjects:
    @pytest.fixture(autouse=True)
    def nothing_is_executed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield
        assert not os.path.exists("executed")

    def test_would_be_executed_by_a_careless_reader(self, tmp_path):
        """Otherwise the other tests would show nothing."""
        file = io.BytesIO()
        np.savez(file, a=np.array([WouldWriteAFile()], dtype=object))
        file.seek(0)
        np.load(file, allow_pickle=True)["a"][0].close()
        assert os.path.exists("executed")
        os.remove("executed")

    @pytest.mark.parametrize("only", [None, "a"])
    def test_are_refused(self, path, only):
        objects = np.array([WouldWriteAFile()], dtype=object)
        file = io.BytesIO()
        np.savez(file, a=objects)
        overwrite(path, seal(file.getvalue()))
        with pytest.raises(BadFile, match=r"holds objects \(a\), which are never loaded"):
            read_arrays(path, only)

    @pytest.mark.parametrize("dtype", ["c8", "M8[s]", "i4,f4", "V3"])
    def test_of_kinds_that_nobody_writes_are_refused(self, path, dtype):
        overwrite(path, seal(archive(("a.npy", npy(np.zeros(2, dtype))))))
        with pytest.raises(BadFile, match="other than numbers and text"):
            read_arrays(path)

    def test_within_a_structure_are_refused(self, path):
        array = np.array([(1, WouldWriteAFile())], dtype=[("number", "i4"), ("thing", "O")])
        file = io.BytesIO()
        np.savez(file, a=array)
        overwrite(path, seal(file.getvalue()))
        with pytest.raises(BadFile, match="holds objects"):
            read_arrays(path)

    @pytest.mark.parametrize("sealed", [True, False])
    def test_pickled_in_place_of_an_archive_are_refused(self, path, sealed):
        overwrite(path, pickle.dumps(WouldWriteAFile()))
        with pytest.raises(BadFile):
            read_arrays(path, sealed=sealed)

    def test_pickled_in_place_of_an_array_are_refused(self, path):
        overwrite(path, seal(archive(("a.npy", pickle.dumps(WouldWriteAFile())))))
        with pytest.raises(BadFile):
            read_arrays(path)


def peak_memory(function):
    """Most bytes that Python and NumPy held at once while the function ran."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestBomb:
    """Small files that would be large in memory: refused, and memory is not taken first."""

    SIZE = 2**26

    def refuse(self, path, data, **options):
        overwrite(path, data)

        def read():
            with pytest.raises(BadFile) as refusal:
                read_arrays(path, **options)
            reasons.append(str(refusal.value))

        reasons = []
        assert peak_memory(read) < 2**24
        return reasons[0]

    def zeros(self):
        return npy(header=self.header(self.SIZE), data=bytes(self.SIZE))

    @staticmethod
    def header(length):
        return {"descr": "|u1", "fortran_order": False, "shape": (length,)}

    @pytest.mark.parametrize("only", [None, "a"])
    @pytest.mark.parametrize("sealed", [True, False])
    def test_of_zeros(self, path, only, sealed):
        data = archive(("a.npy", self.zeros()), compression=zipfile.ZIP_DEFLATED)
        assert len(data) < self.SIZE / 500
        options = {"only": only, "sealed": sealed}
        reason = self.refuse(path, seal(data) if sealed else data, **options)
        assert reason.startswith("would unpack to more than")

    def test_of_many_arrays(self, path):
        members = [(f"{i}.npy", npy(np.zeros(2**17))) for i in range(256)]
        data = seal(archive(*members, compression=zipfile.ZIP_DEFLATED))
        assert self.refuse(path, data).startswith("would unpack to more than")

    @pytest.mark.parametrize("method", ["deflate", "bzip2", "lzma"])
    def test_that_lies_about_its_size(self, path, method):
        """The archive says a few bytes, what is compressed are many."""
        honest = npy(header=self.header(1000), data=bytes(1000))
        zeros = self.zeros()
        kinds = {"deflate": 8, "bzip2": 12, "lzma": 14}
        if method == "deflate":
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(zeros) + packer.flush()
        elif method == "bzip2":
            packed = bz2.compress(zeros)
        else:
            lzma1 = {"id": lzma.FILTER_LZMA1}
            properties = lzma._encode_filter_properties(lzma1)
            raw = lzma.compress(zeros, format=lzma.FORMAT_RAW, filters=[lzma1])
            packed = struct.pack("<BBH", 9, 4, len(properties)) + properties + raw
        data = archive(("a.npy", packed))
        central = data.index(b"PK\x01\x02")
        kind, size = struct.pack("<H", kinds[method]), struct.pack("<I", len(honest))
        data = bytearray(data)
        data[8:10] = data[central + 10 : central + 12] = kind
        data[22:26] = data[central + 24 : central + 28] = size
        self.refuse(path, seal(bytes(data)))

    @pytest.mark.parametrize(
        "shape", [(2**40,), (2**31, 2**31), (2**62, 4), (2**20, 2**20, 2**20, 2**20), (10**400,)]
    )
    @pytest.mark.parametrize("data", [b"", bytes(1000)], ids=["empty", "1000 bytes"])
    def test_of_a_huge_shape(self, path, shape, data):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        member = npy(header=header, data=data)
        assert "size that it says" in self.refuse(path, seal(archive(("a.npy", member))))

    def test_of_a_huge_type(self, path):
        header = {"descr": f"|S{2**30}", "fortran_order": False, "shape": (4,)}
        self.refuse(path, seal(archive(("a.npy", npy(header=header, data=bytes(100))))))

    def test_of_a_long_header(self, path):
        header = {"descr": "<f4", "fortran_order": False, "shape": (1,) * 20_000}
        self.refuse(path, seal(archive(("a.npy", npy(header=header, data=bytes(4))))))


class TestLimit:
    @pytest.fixture
    def archived(self, path):
        """Two arrays of 4000 bytes in all."""
        arrays = {"a": np.zeros(250), "b": np.ones(500, np.float32)}
        write_arrays(path, arrays)
        return arrays

    def test_lets_pass_what_is_within_it(self, path, archived):
        assert_equal(read_arrays(path, limit=4300), archived)

    @pytest.mark.parametrize("limit", [1, 2200, 3999])
    def test_refuses_what_is_beyond_it(self, path, archived, limit):
        with pytest.raises(BadFile, match=f"more than the {limit:,} bytes that it may hold"):
            read_arrays(path, limit=limit)


class TestOddArchive:
    @pytest.mark.parametrize(
        "header",
        [
            {"descr": "<f4", "fortran_order": False, "shape": (2,)},
            {"descr": "<f4", "fortran_order": False, "shape": (4,)},
            {"descr": "<f8", "fortran_order": False, "shape": (3,)},
            {"descr": "<f4", "fortran_order": False, "shape": ()},
            {"descr": "<f4", "fortran_order": False, "shape": (-3,)},
            {"descr": "<f4", "fortran_order": False, "shape": (-1, -3)},
            {"descr": "<f4", "fortran_order": False, "shape": (3, 0)},
            {"descr": "<f4", "fortran_order": False, "shape": (3.0,)},
            {"descr": "<f4", "fortran_order": False, "shape": 3},
            {"descr": "<f4", "fortran_order": 2, "shape": (3,)},
            {"descr": "<f4", "fortran_order": False},
            {"descr": "nonsense", "fortran_order": False, "shape": (3,)},
            {"descr": None, "fortran_order": False, "shape": (3,)},
            {"descr": "<U0", "fortran_order": False, "shape": (2**40,)},
            [],
        ],
        ids=str,
    )
    def test_whose_header_lies_about_12_bytes_is_refused(self, path, header):
        overwrite(path, seal(archive(("a.npy", npy(header=header, data=bytes(12))))))
        with pytest.raises(BadFile):
            read_arrays(path)

    def test_that_holds_a_name_twice_is_refused(self, path):
        members = [("a.npy", npy(np.zeros(3))), ("a.npy", npy(np.ones(3)))]
        overwrite(path, seal(archive(*members)))
        with pytest.raises(BadFile, match="holds an array twice"):
            read_arrays(path)

    def test_that_holds_a_name_with_and_without_suffix_is_refused(self, path):
        members = [("a.npy", npy(np.zeros(3))), ("a", npy(np.ones(3)))]
        overwrite(path, seal(archive(*members)))
        with pytest.raises(BadFile, match="holds an array twice"):
            read_arrays(path)

    def test_that_is_encrypted_is_refused(self, path):
        data = bytearray(archive(("a.npy", npy(np.zeros(3)))))
        central = data.index(b"PK\x01\x02")
        data[6] |= 1
        data[central + 8] |= 1
        overwrite(path, seal(bytes(data)))
        with pytest.raises(BadFile):
            read_arrays(path)

    @pytest.mark.filterwarnings("ignore:Overlapped entries:UserWarning")  # of Python itself
    def test_whose_members_overlap_is_refused(self, path):
        """Both entries of the directory point at the first member, as in some bombs."""
        data = bytearray(archive(("a.npy", npy(np.zeros(3))), ("b.npy", npy(np.ones(3)))))
        second = data.rindex(b"PK\x01\x02")
        data[second + 42 : second + 46] = bytes(4)
        overwrite(path, seal(bytes(data)))
        with pytest.raises(BadFile):
            read_arrays(path)

    def test_that_is_compressed_is_read(self, path):
        data = archive(("a.npy", npy(np.arange(30))), compression=zipfile.ZIP_DEFLATED)
        overwrite(path, seal(data))
        assert_equal(read_arrays(path), {"a": np.arange(30)})

    def test_without_members_is_read(self, path):
        overwrite(path, seal(archive()))
        assert read_arrays(path) == {}

    def test_damaged_in_any_byte_of_an_array_is_refused_by_the_checksum_of_zip(self, path):
        array = np.arange(4, dtype=np.float32)
        data = archive(("a.npy", npy(array)))
        start = data.index(array.tobytes())
        for place in range(start, start + array.nbytes):
            damaged = bytearray(data)
            damaged[place] ^= 1
            overwrite(path, damaged)
            with pytest.raises(BadFile):
                read_arrays(path, sealed=False)
