"""The cache on disk: what it writes, what it believes, and what it leaves alone."""

import ctypes
import hashlib
import multiprocessing
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import native_library
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

# CDLL lets go of the GIL, so that threads really meet.
library = ctypes.CDLL(native_library.load()._name)
pointer, size_t, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p


class Note(ctypes.Structure):
    _fields_ = [("name", text), ("bytes", text), ("size", size_t)]


for function, result, arguments in [
    ("disk_open", pointer, []),
    ("disk_close", None, [pointer]),
    ("disk_path", text, [pointer]),
    ("disk_mode", ctypes.c_int, [pointer]),
    ("disk_warning", text, [pointer]),
    ("disk_write", None, [pointer, text, text, size_t, ctypes.POINTER(Note), size_t]),
    ("disk_measure", None, [pointer, ctypes.POINTER(size_t), ctypes.POINTER(size_t)]),
    ("disk_clear", size_t, [pointer]),
    ("testing_disk_read", ctypes.c_long, [pointer, text, text, size_t]),
    ("testing_disk_counters", None, [pointer, ctypes.POINTER(size_t)]),
]:
    getattr(library, function).restype = result
    getattr(library, function).argtypes = arguments

FOOTER = 8 + 8 + 32 + 8 + 32
VARIABLES = ["TINYWEAVE_CACHE", "TINYWEAVE_CACHE_DIR", "TINYWEAVE_CACHE_SIZE", "XDG_CACHE_HOME", "HOME"]


def key_of(name):
    return hashlib.sha256(str(name).encode()).digest()


class Disk:
    """A cache opened under the variables of the environment."""

    def __init__(self):
        self.disk = library.disk_open()
        assert self.disk
        self.path = Path(os.fsdecode(library.disk_path(self.disk)))
        self.mode = ["on", "off", "readonly"][library.disk_mode(self.disk)]

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        library.disk_close(self.disk)
        self.disk = None  # closed: the library would not survive its use

    def read(self, name):
        """The object, or None for a miss."""
        capacity = 1 << 16
        while True:
            object_bytes = ctypes.create_string_buffer(capacity)
            size = library.testing_disk_read(self.disk, key_of(name), object_bytes, capacity)
            assert size != -2, "a miss changed the buffer"
            if size <= capacity:
                return None if size < 0 else object_bytes.raw[:size]
            capacity = size

    def write(self, name, data, **notes):
        array = (Note * len(notes))(*((n.encode(), value, len(value)) for n, value in notes.items()))
        library.disk_write(self.disk, key_of(name), data, len(data), array, len(notes))

    def file(self, name):
        digits = key_of(name).hex()
        return self.path / digits[:2] / (digits + ".o")

    def files(self):
        return sorted(path for path in self.path.rglob("*") if not path.is_dir())

    def warnings(self):
        found = []
        while (warning := library.disk_warning(self.disk)) is not None:
            found.append(os.fsdecode(warning))
        return found

    def _counter(self, index):
        counters = (size_t * 4)()
        library.testing_disk_counters(self.disk, counters)
        return counters[index]

    hits = property(lambda self: self._counter(0))
    writes = property(lambda self: self._counter(1))
    evictions = property(lambda self: self._counter(2))
    errors = property(lambda self: self._counter(3))

    def measure(self):
        entries, size = size_t(), size_t()
        library.disk_measure(self.disk, entries, size)
        return entries.value, size.value

    def clear(self):
        return library.disk_clear(self.disk)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of a cache that does not exist yet."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TINYWEAVE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def disk(root):
    with Disk() as opened:
        yield opened


def run_as_child(function, *arguments):
    """Run a function in a forked process; what it raises fails the test, what it skips skips it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        except pytest.skip.Exception as skipped:
            status = 2
            os.write(writer, str(skipped).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode()[:4000])
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as stream:
        message = stream.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 2:
        pytest.skip(message)
    assert status == 0, message


# ---- Entries ----


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=9000), source=st.binary(max_size=2000))
@example(data=b"", source=b"")
def test_what_is_written_is_read(disk, data, source):
    disk.write("a", data, source=source, signature=b"")
    assert disk.read("a") == data
    assert disk.errors == 0


def test_counters(disk):
    assert disk.read("a") is None
    disk.write("a", b"object")
    assert disk.read("a") == b"object"
    assert disk.read("b") is None
    assert (disk.hits, disk.writes, disk.evictions, disk.errors) == (1, 1, 0, 0)


def test_another_process_reads_it(disk):
    disk.write("a", b"object" * 1000)

    def child():
        with Disk() as other:
            assert other.read("a") == b"object" * 1000

    run_as_child(child)


def test_format(disk):
    """Pins the format: what changes it has to change the magic number too."""
    notes = {"source": b"return_val = 1;", "options": b"", "compile_ns": b"1234"}
    disk.write("a", b"\x7fELF object", **notes)
    body = b"\x7fELF object"
    note_bytes = b"".join(
        len(part).to_bytes(8, "little") + part for n, value in notes.items() for part in (n.encode(), value)
    )
    body += note_bytes + (11).to_bytes(8, "little") + len(note_bytes).to_bytes(8, "little")
    body += key_of("a") + b"TWENTRY1"
    assert disk.file("a").read_bytes() == body + hashlib.sha256(body).digest()


def test_modes_of_files_and_folders(tmp_path, monkeypatch, root):
    monkeypatch.setenv("TINYWEAVE_CACHE_DIR", str(tmp_path / "x/y/cache"))
    with Disk() as disk:
        assert not (tmp_path / "x").exists()  # opening creates nothing
        disk.write("a", b"object")
        path = disk.file("a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        while path != tmp_path:
            path = path.parent
            assert path == tmp_path or stat.S_IMODE(path.stat().st_mode) == 0o700


def test_readelf_takes_an_entry(disk, tmp_path):
    source = tmp_path / "unit.c"
    source.write_text("int answer(void) { return 42; }\n")
    try:
        subprocess.run(["cc", "-c", source, "-o", tmp_path / "unit.o"], check=True)
        disk.write("a", (tmp_path / "unit.o").read_bytes(), source=source.read_bytes())
        listing = subprocess.run(["objdump", "-t", disk.file("a")], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no cc or no objdump")
    assert b"answer" in listing.stdout


# ---- Damage ----


def signed(body):
    return body + hashlib.sha256(body).digest()


def assert_miss_and_repair(disk, name, data):
    errors = disk.errors
    assert disk.read(name) is None
    assert disk.errors == errors + 1
    disk.write(name, data)
    assert disk.read(name) == data
    assert disk.errors == errors + 1


def test_every_flipped_byte_is_a_miss(disk):
    disk.write("a", b"object" * 20, source=b"source" * 5)
    path = disk.file("a")
    good = path.read_bytes()
    for position in range(len(good)):
        for flip in (1, 0x80, 0xFF):
            bad = bytearray(good)
            bad[position] ^= flip
            path.write_bytes(bad)
            assert disk.read("a") is None, (position, flip)
    assert disk.errors == 3 * len(good)
    assert disk.hits == 0
    path.write_bytes(good)
    assert disk.read("a") == b"object" * 20


def test_every_truncation_is_a_miss(disk):
    disk.write("a", b"object" * 20, source=b"source" * 5)
    path = disk.file("a")
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        assert disk.read("a") is None, size
    assert disk.errors == len(good)


@pytest.mark.parametrize("extra", [b"\0", b"x" * FOOTER, b"\0" * 5000])
def test_extended_is_a_miss(disk, extra):
    disk.write("a", b"object")
    path = disk.file("a")
    good = path.read_bytes()
    path.write_bytes(good + extra)
    assert_miss_and_repair(disk, "a", b"object")
    path.write_bytes(extra + good)
    assert_miss_and_repair(disk, "a", b"object")
    path.write_bytes(good + good)
    assert_miss_and_repair(disk, "a", b"object")


def test_sizes_that_lie_under_a_right_checksum(disk):
    """Not what damage does, but the sizes are never trusted beyond the file."""
    disk.write("a", b"object", source=b"text")
    path = disk.file("a")
    body = path.read_bytes()[:-32]
    start = len(body) - (FOOTER - 32)
    notes = start - 6
    for object_size, notes_size in [
        (0, start + 1),
        (start + 1, 2**64 - 1),
        (2**64 - 1, start + 1),
        (2**63, 2**63 + start),
        (6, notes + 1),
        (6, notes - 1),
        (start + FOOTER, 0),
    ]:
        sizes = object_size.to_bytes(8, "little") + notes_size.to_bytes(8, "little")
        lying = body[:start] + sizes + body[start + 16 :]
        path.write_bytes(signed(lying))
        assert disk.read("a") is None, (object_size, notes_size)


def test_an_entry_under_another_key_is_a_miss(disk):
    disk.write("a", b"object")
    disk.write("b", b"other")
    disk.file("b").write_bytes(disk.file("a").read_bytes())
    assert_miss_and_repair(disk, "b", b"other")


@pytest.mark.parametrize("kind", ["empty", "folder", "fifo", "symlink", "dangling", "loop", "device"])
def test_what_is_no_regular_file_is_a_miss(disk, tmp_path, kind):
    disk.write("a", b"object")
    path = disk.file("a")
    copy = tmp_path / "copy.o"
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    path.unlink()
    if kind == "empty":
        path.touch(0o600)
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "symlink":
        path.symlink_to(copy)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nothing")
    elif kind == "loop":
        path.symlink_to(path)
    elif os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    else:
        pytest.skip("only root makes devices")
    assert_miss_and_repair(disk, "a", b"object")
    assert path.is_file() and not path.is_symlink()
    assert disk.warnings() == []
    assert copy.exists() and not (tmp_path / "nothing").exists()


def test_a_full_folder_in_place_of_an_entry_stays(disk):
    disk.write("a", b"object")
    disk.file("a").unlink()
    (disk.file("a") / "mine").mkdir(parents=True)
    disk.write("a", b"object")
    assert disk.read("a") is None
    assert disk.errors == 2
    assert disk.files() == []  # no temporary is left
    assert (disk.file("a") / "mine").is_dir()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_others_may_write_is_a_miss(disk, mode):
    disk.write("a", b"object")
    disk.file("a").chmod(mode)
    assert_miss_and_repair(disk, "a", b"object")


def test_an_entry_others_may_read_is_a_hit(disk):
    disk.write("a", b"object")
    disk.file("a").chmod(0o644)
    assert disk.read("a") == b"object"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@needs_root
def test_a_foreign_entry_is_a_miss(disk):
    disk.write("a", b"object")
    os.chown(disk.file("a"), 65534, 65534)
    assert_miss_and_repair(disk, "a", b"object")


def test_another_magic_number_is_a_miss(disk):
    """An entry of another version of the format, whole and under the right key."""
    disk.write("a", b"object")
    body = disk.file("a").read_bytes()[:-32]
    assert body.endswith(b"TWENTRY1")
    disk.file("a").write_bytes(signed(body[:-1] + b"2"))
    assert_miss_and_repair(disk, "a", b"object")


def test_an_entry_too_large_to_be_one_is_not_read(disk):
    disk.write("a", b"object")
    size = (64 << 20) + 1 - FOOTER
    sizes = size.to_bytes(8, "little") + bytes(8)
    disk.file("a").write_bytes(signed(bytes(size) + sizes + key_of("a") + b"TWENTRY1"))
    assert_miss_and_repair(disk, "a", b"object")
    disk.write("b", bytes(size))
    assert disk.read("b") is None and not disk.file("b").exists()
    disk.write("b", bytes(size - 1))
    assert disk.read("b") == bytes(size - 1)


# ---- The folder ----


def outcome(disk):
    """Try to write and read one entry."""
    disk.write("a", b"object")
    return disk.read("a")


def refused(disk, reason):
    before = disk.files() if disk.path.is_dir() else []
    assert outcome(disk) is None
    warnings = disk.warnings()
    assert len(warnings) == 1 and reason in warnings[0] and str(disk.path) in warnings[0]
    assert outcome(disk) is None
    assert disk.warnings() == []
    assert disk.measure() == (0, 0) and disk.clear() == 0
    assert (disk.files() if disk.path.is_dir() else []) == before
    return True


@pytest.mark.parametrize("tail", ["", "/", "/.", "/./"])
def test_symlinked_root_is_refused(tmp_path, root, monkeypatch, tail):
    (tmp_path / "real").mkdir(0o700)
    root.symlink_to(tmp_path / "real")
    monkeypatch.setenv("TINYWEAVE_CACHE_DIR", str(root) + tail)
    with Disk() as disk:
        assert refused(disk, "is a symbolic link")
    assert list((tmp_path / "real").iterdir()) == []


def test_symlink_above_the_root_is_followed(tmp_path, root, monkeypatch):
    (tmp_path / "real").mkdir(0o755)
    (tmp_path / "home").symlink_to(tmp_path / "real")
    monkeypatch.setenv("TINYWEAVE_CACHE_DIR", str(tmp_path / "home/cache"))
    with Disk() as disk:
        assert outcome(disk) == b"object"


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o702, 0o1777])
def test_root_others_may_write_is_refused(root, disk, mode):
    root.mkdir()
    root.chmod(mode)
    assert refused(disk, "is writable by others")


@needs_root
def test_foreign_root_is_refused(root, disk):
    root.mkdir(0o700)
    os.chown(root, 65534, 65534)
    assert refused(disk, "belongs to another user")


def test_file_as_root_is_refused(root, disk):
    root.write_text("mine")
    assert refused(disk, "is not a folder")
    assert root.read_text() == "mine"


def test_folder_of_entries_is_looked_at_too(root, disk, tmp_path):
    disk.write("a", b"object")
    folder = disk.file("a").parent
    folder.chmod(0o770)
    assert disk.read("a") is None
    assert disk.warnings() == [f"the cache folder {folder} is writable by others: nothing is cached on disk"]
    folder.chmod(0o700)
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with Disk() as other:
        assert refused(other, "is a symbolic link")


def test_refused_while_it_is_walked(root, disk, tmp_path):
    disk.write("a", b"object")
    folder = disk.file("a").parent
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    assert disk.clear() == 0 and disk.measure() == (0, 0)
    assert len(list((tmp_path / "moved").iterdir())) == 1
    assert len(disk.warnings()) == 1


def test_root_deleted_and_made_again(disk):
    for _ in range(3):
        assert outcome(disk) == b"object"
        disk.file("a").unlink()
        disk.file("a").parent.rmdir()
        assert disk.read("a") is None
        assert outcome(disk) == b"object"
        assert disk.clear() == 1
        disk.path.rmdir()
        assert disk.read("a") is None
        assert disk.measure() == (0, 0) and disk.clear() == 0
    assert disk.errors == 0


def path_under(monkeypatch, **variables):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Disk() as disk:
        return os.fsdecode(library.disk_path(disk.disk))


def test_where(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def path(**variables):
        return path_under(monkeypatch, **variables)

    assert path(TINYWEAVE_CACHE_DIR="/a", XDG_CACHE_HOME="/b", HOME="/c") == "/a"
    assert path(TINYWEAVE_CACHE_DIR="", XDG_CACHE_HOME="/b", HOME="/c") == "/b/tinyweave"
    assert path(XDG_CACHE_HOME="", HOME="/c") == "/c/.cache/tinyweave"
    assert path(XDG_CACHE_HOME="relative", HOME="/c") == "/c/.cache/tinyweave"
    assert path(HOME="/c") == "/c/.cache/tinyweave"
    assert path(TINYWEAVE_CACHE_DIR="sub/folder") == f"{tmp_path}/sub/folder"
    assert path(TINYWEAVE_CACHE_DIR=".") == str(tmp_path)
    assert path(TINYWEAVE_CACHE_DIR="/a//./") == "/a"
    assert path(TINYWEAVE_CACHE_DIR="/") == "/"
    assert path(TINYWEAVE_CACHE_DIR="/a.") == "/a."
    assert path(TINYWEAVE_CACHE_DIR="/" + "long/" * 700) == "/" + "/".join(["long"] * 700)


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_unset_home_is_that_of_the_password_file(monkeypatch, home):
    expected = os.path.expanduser(f"~{pwd_name()}") if pwd_name() else None
    variables = {} if home is None else {"HOME": home}
    found = path_under(monkeypatch, **variables)
    assert found == (f"{expected}/.cache/tinyweave" if expected else "")


def pwd_name():
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return None


def test_no_folder_at_all(monkeypatch, root):
    """A user that no password file knows, as in containers."""

    def child():
        if os.geteuid() != 0:
            pytest.skip("only root changes its user")
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        os.setuid(123456)
        with Disk() as disk:
            assert library.disk_path(disk.disk) == b""
            assert outcome(disk) is None
            assert disk.measure() == (0, 0) and disk.clear() == 0
            assert disk.warnings() == [] and disk.errors == 0

    run_as_child(child)


def test_working_folder_may_change_or_vanish(monkeypatch, root, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TINYWEAVE_CACHE_DIR", "cache")
    with Disk() as disk:
        monkeypatch.chdir(tmp_path)
        disk.write("a", b"object")
        assert (tmp_path / "here/cache").is_dir() and not (tmp_path / "cache").exists()

    def child():
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with Disk() as disk:
            assert disk.read("a") is None and disk.warnings() == []

    run_as_child(child)


# ---- Settings ----


@pytest.mark.parametrize("value", ["on", "ON", "off", "Off", "readonly", "ReadOnly", "", None])
def test_mode(monkeypatch, root, value):
    if value is not None:
        monkeypatch.setenv("TINYWEAVE_CACHE", value)
    with Disk() as disk:
        assert disk.mode == (value or "on").lower()
        assert disk.warnings() == []


@pytest.mark.parametrize("value", ["1", "0", "yes", "read-only", "on ", "\xff" * 300])
def test_unknown_mode_is_on_with_a_warning(monkeypatch, root, value):
    monkeypatch.setenv("TINYWEAVE_CACHE", value)
    with Disk() as disk:
        assert disk.mode == "on"
        (warning,) = disk.warnings()
        assert warning.startswith("TINYWEAVE_CACHE is ") and "on, off or readonly" in warning
        assert outcome(disk) == b"object"


def test_off(monkeypatch, root, disk):
    disk.write("a", b"object")
    monkeypatch.setenv("TINYWEAVE_CACHE", "off")
    with Disk() as off:
        off.write("b", b"object")
        assert off.read("a") is None
        assert off.measure() == (0, 0) and off.clear() == 0
        assert off.errors == 0
    assert disk.measure()[0] == 1


def test_readonly(monkeypatch, root, disk):
    disk.write("a", b"object")
    os.utime(disk.file("a"), (1, 1))
    monkeypatch.setenv("TINYWEAVE_CACHE", "readonly")
    with Disk() as readonly:
        assert readonly.read("a") == b"object"
        readonly.write("b", b"object")
        assert readonly.read("b") is None
        assert readonly.measure()[0] == 1 and readonly.clear() == 0
        assert readonly.errors == 0
    assert disk.file("a").stat().st_mtime == 1


def stored(monkeypatch, size, data):
    """Is an entry with that object stored under TINYWEAVE_CACHE_SIZE=size? And the warnings."""
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", size)
    with Disk() as disk:
        disk.clear()
        disk.write("a", data)
        assert disk.errors == 0
        return disk.writes == 1, disk.warnings()


@pytest.mark.parametrize(
    ("size", "cap"),
    [("1000", 1000), ("0999", 999), ("1k", 1024), ("3K", 3072), ("1m", 1 << 20), ("2M", 1 << 21), ("0", 0)],
)
def test_size(monkeypatch, root, size, cap):
    if cap:
        assert stored(monkeypatch, size, bytes(cap - FOOTER)) == (True, [])
    assert stored(monkeypatch, size, bytes(max(cap - FOOTER, 0) + 1)) == (False, [])


@pytest.mark.parametrize("size", ["1G", "2g", "9223372036854775807", "8589934591G", ""])
def test_large_size(monkeypatch, root, size):
    assert stored(monkeypatch, size, bytes(1000)) == (True, [])


@pytest.mark.parametrize(
    "size",
    ["K", "-1", "+1", "1.5M", " 1", "1 ", "1KB", "1T", "0x10", "1e6", "one"]
    + ["9223372036854775808", "18446744073709551617", "8589934592G", "99999999999999999999"],
)
def test_malformed_size_is_the_default_with_a_warning(monkeypatch, root, size):
    was_stored, warnings = stored(monkeypatch, size, bytes(1 << 20))
    assert was_stored
    (warning,) = warnings
    assert warning.startswith(f'TINYWEAVE_CACHE_SIZE is "{size}": ')


# ---- The cap ----


def test_oldest_use_goes_first(monkeypatch, root):
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", "10K")
    data = bytes(1024 - FOOTER)
    with Disk() as disk:
        for name in range(10):
            disk.write(name, data)
        assert disk.measure() == (10, 10 * 1024) and disk.evictions == 0
        assert disk.read(0) == data  # 1 and 2 are now the oldest
        disk.write(10, data)
        assert disk.evictions == 2
        kept = [name for name in range(11) if disk.file(name).exists()]
        assert kept == [0, 3, 4, 5, 6, 7, 8, 9, 10]
        assert disk.errors == 0


def test_order_is_that_of_the_time_on_disk(monkeypatch, root):
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", "20K")
    names = list(range(20))
    random.Random(1).shuffle(names)
    with Disk() as disk:
        for name in range(20):
            disk.write(name, bytes(1024 - FOOTER))
        for age, name in enumerate(names):
            os.utime(disk.file(name), ns=(0, 10**18 - age))
    with Disk() as disk:  # another process: nothing is remembered
        disk.write("new", bytes(1024 - FOOTER))
        assert [name for name in names if disk.file(name).exists()] == names[: 20 - disk.evictions]
        assert disk.evictions == 3


def test_never_above_the_cap(monkeypatch, root):
    cap = 64 << 10
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", str(cap))
    choose = random.Random(2)
    with Disk() as disk:
        for name in range(400):
            disk.write(name, bytes(choose.randrange(4000)))
            entries, size = disk.measure()
            assert size <= cap
            assert disk.read(name) is not None  # the newest is never the one that goes
        assert entries + disk.evictions == 400


def test_the_entry_just_written_stays(monkeypatch, root):
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", "10K")
    with Disk() as disk:
        disk.write("small", bytes(1000))
        disk.write("large", bytes(10 * 1024 - FOOTER))
        assert disk.read("large") is not None
        assert disk.measure() == (1, 10 * 1024)


def test_an_entry_above_the_cap_removes_nothing(monkeypatch, root):
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", "10K")
    with Disk() as disk:
        disk.write("a", bytes(1000))
        disk.write("b", bytes(10 * 1024))
        assert disk.measure()[0] == 1 and disk.writes == 1 and disk.errors == 0


def test_large_cap_with_many_entries(monkeypatch, root):
    """Large enough for the estimate from one folder; each new process starts without a measure."""
    cap = 8 << 20
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", str(cap))
    for start in range(0, 1200, 100):
        with Disk() as disk:
            for name in range(start, start + 100):
                disk.write(name, bytes(10_000))
            entries, size = disk.measure()
            assert size <= cap + cap // 16
    assert 600 < entries < 1200


def test_several_processes_trim_at_once(monkeypatch, root):
    cap = 100 << 10
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", str(cap))

    def worker(number):
        with Disk() as disk:
            for name in range(200):
                disk.write((number, name), bytes(1000))
            assert disk.errors == 0 and disk.writes == 200

    run_workers(worker, 8)
    with Disk() as disk:
        disk.write("last", b"")
        assert disk.measure()[1] <= cap


def temporary_name(name, number=0):
    return f"{key_of(name).hex()}.{number:016x}.tmp"


def test_trim_removes_stale_temporaries(monkeypatch, root, disk):
    disk.write("a", b"object")
    folder = disk.file("a").parent
    stale, fresh = folder / temporary_name("a", 1), folder / temporary_name("a", 2)
    for path in (stale, fresh):
        path.write_bytes(b"half an ent")
    os.utime(stale, (time.time() - 3700, time.time() - 3700))
    assert disk.measure() == (1, 6 + FOOTER)
    with Disk() as other:
        other.write("a", b"object")  # the first write of a process looks
        assert not stale.exists() and fresh.exists()


# ---- Clearing ----


def test_clear_leaves_foreign_files_alone(disk, root):
    for name in range(300):
        disk.write(name, b"object")
    digits = key_of(0).hex()
    folder = root / digits[:2]
    other_folder = root / ("00" if digits[:2] != "00" else "01")
    other_folder.mkdir(0o700, exist_ok=True)
    foreign = [
        root / "README",
        root / (digits + ".o"),
        folder / "notes.txt",
        folder / "x.o",
        folder / (digits[:-1] + ".o"),
        folder / (digits + "0.o"),
        folder / (digits + ".obj"),
        folder / (digits.upper() + ".o"),
        folder / (digits + ".tmp"),
        folder / (digits + ".000000000000000g.tmp"),
        folder / (digits + ".0000000000000000.tmp.tmp"),
        other_folder / (digits + ".o"),  # in a folder that is not its own
        root / "zz" / "file.o",
        root / "abc" / "file.o",
    ]
    for path in foreign:
        path.parent.mkdir(0o700, exist_ok=True)
        path.write_text("mine")
    (root / "ff").mkdir(0o700, exist_ok=True)
    (folder / temporary_name(0)).write_text("left over")
    assert disk.measure()[0] == 300
    assert disk.clear() == 300
    assert disk.files() == sorted(foreign)
    assert not (root / "ff").exists()
    assert {path.name for path in root.iterdir() if path.is_dir()} == {
        path.parent.name for path in foreign if path.parent != root
    }
    assert disk.clear() == 0
    assert outcome(disk) == b"object" and disk.errors == 0


def test_eviction_leaves_foreign_files_alone(monkeypatch, root):
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", "5K")
    with Disk() as disk:
        disk.write("a", b"object")
        mine = disk.file("a").parent / "mine.o"
        mine.write_bytes(bytes(100_000))
        os.utime(mine, (1, 1))
        for name in range(20):
            disk.write(name, bytes(1000))
        assert disk.evictions > 0 and mine.exists()


# ---- Failing writes ----


def full_disk(disk):
    """Writes fail, cost nothing but the store, and leave nothing behind."""
    disk.write("large", bytes(300_000))
    assert disk.read("large") is None
    assert disk.errors == 1 and disk.writes == 0
    assert disk.files() == [] and disk.warnings() == []


def test_file_size_limit(root):
    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with Disk() as disk:
            full_disk(disk)
            assert outcome(disk) == b"object"

    run_as_child(child)


@pytest.fixture
def mount(root):
    """Mounts a tmpfs with the given options on the cache's folder."""
    mounted = []

    def do(*options):
        root.mkdir(0o700, exist_ok=True)
        arguments = ["mount", "-t", "tmpfs", "-o", ",".join(("mode=0700", *options)), "tmpfs", root]
        if os.geteuid() != 0 or subprocess.run(arguments, capture_output=True).returncode != 0:
            pytest.skip("no right to mount")
        mounted.append(root)

    yield do
    for path in mounted:
        subprocess.run(["umount", path], check=True)


def test_full_disk(mount, root):
    mount("size=200k")
    with Disk() as disk:
        full_disk(disk)
        assert outcome(disk) == b"object"


def test_full_disk_of_many_entries(mount):
    mount("size=200k")
    with Disk() as disk:
        for name in range(200):
            disk.write(name, b"%d" % name * 300)
        assert disk.errors > 0 and disk.writes > 0 and disk.writes + disk.errors == 200
        assert disk.measure()[0] == disk.writes == len(disk.files())
        assert all(disk.read(name) in (None, b"%d" % name * 300) for name in range(200))


def test_readonly_file_system(mount, root):
    mount("size=200k")
    with Disk() as disk:
        disk.write("a", b"object")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        assert disk.read("a") == b"object"
        assert disk.errors == 0
        disk.write("b", b"object")
        disk.write("a", b"object")
        assert disk.errors == 2 and disk.writes == 1
        assert disk.clear() == 0 and disk.evictions == 0
        assert disk.warnings() == []


@pytest.mark.parametrize("place", ["root", "parent"])
def test_folder_we_may_not_write(root, monkeypatch, place):
    def child():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        with Disk() as disk:
            disk.write("a", b"object")
            assert disk.read("a") is None
            assert disk.errors == 1 and disk.warnings() == []
            assert disk.files() == []

    with tempfile.TemporaryDirectory() as outer:  # pytest's own folders are closed to others
        os.chmod(outer, 0o755)
        folder = Path(outer, "nobody")
        folder.mkdir(0o500)
        monkeypatch.setenv("TINYWEAVE_CACHE_DIR", str(folder if place == "root" else folder / "x/cache"))
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        run_as_child(child)
        folder.chmod(0o700)


def test_no_file_descriptors_left(disk, root):
    """Out of descriptors is a miss and a store that did not happen; and none is ever lost."""

    def child():
        disk.write("a", b"object")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for free in range(5):
            disk.write("b", b"object")
            data = disk.read("a")
            assert data == (b"object" if free >= 2 else None), free
            if free < 2:
                assert disk.clear() == 0
            os.close(taken.pop())
        assert disk.read("b") == b"object"

    run_as_child(child)


def test_descriptors_are_closed(disk, root, monkeypatch):
    monkeypatch.setenv("TINYWEAVE_CACHE_SIZE", "5K")
    before = sorted(os.listdir("/proc/self/fd"))
    with Disk() as small:
        for name in range(20):
            small.write(name, bytes(1000))
            small.read(name)
            small.read("none")
        for damage in ("symlink", "folder"):
            small.file(19).unlink()
            small.file(19).symlink_to("x") if damage == "symlink" else small.file(19).mkdir()
            small.read(19)
            small.write(19, b"object")
        small.measure()
        small.clear()
        small.write(1, b"object")
        small.path.chmod(0o777)
        small.read(1)
    assert sorted(os.listdir("/proc/self/fd")) == before


# ---- Many at once ----


def run_workers(worker, count):
    """Run worker(0), worker(1), ... each in a process of its own."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=worker, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def run_threads(work, count):
    """Run work(0), work(1), ... each in a thread of its own; returns what they raised."""
    raised = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def content(name):
    return str(name).encode() * (200 + 37 * (ord(str(name)[-1]) % 50))


def test_processes_and_threads_with_the_same_and_other_keys(root):
    """16 processes of 16 threads: a read gives the whole right object or nothing."""

    def worker(number):
        with Disk() as disk:

            def work(thread):
                for i in range(12):
                    for name in (f"same{i % 5}", f"own{number}.{thread}.{i}"):
                        found = disk.read(name)
                        assert found in (None, content(name))
                        disk.write(name, content(name), source=name.encode())
                        assert disk.read(name) == content(name)

            assert run_threads(work, 16) == []
            assert disk.errors == 0
            assert disk.writes == 16 * 12 * 2

    run_workers(worker, 16)
    with Disk() as disk:
        assert disk.measure()[0] == 16 * 16 * 12 + 5
        assert len(disk.files()) == 16 * 16 * 12 + 5  # no temporary is left
        assert disk.read("same0") == content("same0")


def test_readers_and_writers_while_others_clear(root):
    """Folders vanish under the writers; still every store succeeds and no read is wrong."""

    def worker(number):
        choose = random.Random(number)
        with Disk() as disk:
            for _ in range(300):
                name = choose.randrange(20)
                if number == 0:
                    disk.clear()
                else:
                    disk.write(name, content(name))
                    assert disk.read(name) in (None, content(name))
            assert disk.warnings() == []
            assert disk.errors == 0

    run_workers(worker, 6)


def test_fork_in_the_middle_of_threads(root):
    """A child made while other threads read and write can use the cache: no lock stays locked."""
    with Disk() as disk:
        stop = threading.Event()

        def work(number):
            while not stop.is_set():
                disk.write(number, content(number))
                disk.read(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                run_as_child(lambda name=number + 100: (disk.write(name, b"x"), disk.read(name)))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert all(disk.read(number + 100) == b"x" for number in range(20))


def test_killed_writers(root):
    """Whenever a writer dies: whole entries or none, and what it left behind is cleared."""
    choose = random.Random(3)
    left = []
    for attempt in range(1000):
        if attempt >= 20 and left:
            break
        child = os.fork()
        if child == 0:
            with Disk() as disk:
                for name in range(10_000_000):
                    disk.write(name % 7, b"%d" % (name % 7) * 100_000)
            os._exit(1)
        time.sleep(choose.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with Disk() as disk:
            for name in range(7):
                assert disk.read(name) in (None, b"%d" % name * 100_000), attempt
            assert disk.errors == 0
            left = [path for path in disk.files() if path.suffix == ".tmp"]
    with Disk() as disk:
        assert disk.measure()[0] == 7
        assert left, "no writer was hit in mid-write: the test shows nothing"
        assert disk.clear() == 7
        assert list(disk.path.iterdir()) == []


def test_interrupted_by_signals(root):
    """EINTR in every system call that can give it."""
    code = """if 1:
        import signal, test_disk
        signal.signal(signal.SIGALRM, lambda *ignored: None)
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        with test_disk.Disk() as disk:
            for name in range(300):
                disk.write(name, bytes(50_000))
                assert disk.read(name) == bytes(50_000)
            assert disk.errors == 0
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(__file__))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
