"""What tests of files of arrays share: making them, whole, sealed or odd."""

import hashlib
import io
import struct
import warnings
import zipfile

import numpy as np

SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + 64


def content(path):
    with open(path, "rb") as file:
        return file.read()


def overwrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def seal(data):
    """An archive without a comment, sealed as the module says it is."""
    data = data[:-2] + struct.pack("<H", SEAL_LENGTH) + SEAL
    return data + hashlib.sha256(data).hexdigest().encode()


def npy(array=None, header=None, data=b"", version=(1, 0)):
    """A member of an npz file; with ``header``, one that says what its data may not keep."""
    file = io.BytesIO()
    if header is None:
        np.lib.format.write_array(file, np.asarray(array), version)
        return file.getvalue()
    text = repr(header).encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + data


def archive(*members, compression=zipfile.ZIP_STORED):
    """Bytes of a zip file of members ``(name, data)``, in this order."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        with zipfile.ZipFile(file, "w", compression) as out:
            for name, data in members:
                out.writestr(name, data)
    return file.getvalue()


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        array = np.asarray(array)
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape)
        assert actual[name].tobytes() == array.tobytes()
