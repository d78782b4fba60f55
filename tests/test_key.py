"""SHA-256 and the fields of a key."""

import ctypes
import hashlib

import native_library
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

library = native_library.load()
library.testing_sha256.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_char_p]
library.testing_sha256.restype = None


class Field(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("bytes", ctypes.c_char_p), ("size", ctypes.c_size_t)]


library.testing_key.argtypes = [ctypes.POINTER(Field), ctypes.c_size_t, ctypes.c_char_p]
library.testing_key.restype = None


def sha256(data, piece=1 << 30):
    digest = ctypes.create_string_buffer(32)
    library.testing_sha256(data, len(data), piece, digest)
    return digest.raw


def key(*fields):
    array = (Field * len(fields))(*((name, value, len(value)) for name, value in fields))
    digits = ctypes.create_string_buffer(65)
    library.testing_key(array, len(fields), digits)
    return digits.value.decode()


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ],
)
def test_examples_of_the_standard(text, digest):
    assert sha256(text).hex() == digest


def test_every_size_up_to_five_blocks():
    for size in range(5 * 64 + 1):
        data = bytes(i * 7 & 255 for i in range(size))
        assert sha256(data) == hashlib.sha256(data).digest(), size


@settings(max_examples=300)
@given(st.binary(max_size=5000), st.integers(1, 300))
def test_pieces_make_no_difference(data, piece):
    assert sha256(data, piece) == hashlib.sha256(data).digest()


def test_more_than_half_a_gigabyte():
    """The length in bits passes 32 bits."""
    data = bytes(2**29 + 3)
    assert sha256(data) == hashlib.sha256(data).digest()


def test_golden_key():
    """Pins the format of fields: should this change, every entry on every disk is lost."""
    value = key((b"format", b"1"), (b"signature", b"double a, long n"), (b"source", b"\0\xff"), (b"", b""))
    assert value == "5360964306dc6c27384afda5c63a3338741463e4df5d82bfaa5628e85f663df8"


@given(st.lists(st.tuples(st.text("abc", max_size=4).map(str.encode), st.binary(max_size=200)), max_size=5))
def test_fields_are_length_prefixed(fields):
    stream = b"".join(
        len(part).to_bytes(8, "little") + part for name, value in fields for part in (name, value)
    )
    assert key(*fields) == hashlib.sha256(stream).hexdigest()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([(b"a", b"bc")], [(b"ab", b"c")]),
        ([(b"a", b"b"), (b"c", b"d")], [(b"a", b"bcd")]),
        ([(b"a", b"")], []),
        ([(b"a", b"x"), (b"b", b"y")], [(b"b", b"y"), (b"a", b"x")]),
        ([(b"a", b"x"), (b"a", b"")], [(b"a", b""), (b"a", b"x")]),
        ([(b"a", b"x\0")], [(b"a", b"x")]),
    ],
)
def test_fields_are_not_ambiguous(first, second):
    assert key(*first) != key(*second)
