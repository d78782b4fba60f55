"""What is compiled, what is found again, and what is let go."""

# ruff: noqa: F841 (snippets read the locals of the test)

import os
import stat

import numpy as np
import pytest

import tinyweave as tw


def test_info_is_a_named_tuple():
    info = tw.cache.info()
    names = "compiles memory_hits disk_hits disk_writes evictions errors entries bytes path"
    for name, value in zip(names.split(), info, strict=True):
        assert getattr(info, name) == value
    assert info.path == tw.cache.path == os.environ["TINYWEAVE_CACHE_DIR"]
    assert all(isinstance(value, int) and value >= 0 for value in info[:-1])


def test_a_call_compiles_once(fresh, counts):
    code = fresh("return_val = a;")
    with counts() as c:
        for i in range(10):
            assert tw.inline(code, ["a"], {"a": i}) == i
    assert (c.compiles, c.memory_hits, c.disk_writes, c.entries, c.disk_hits) == (1, 9, 1, 1, 0)


def test_the_place_of_the_call_is_not_in_the_key(fresh, counts):
    code = fresh("return_val = a;")
    texts = [
        "r = tw.inline(code, ['a'])",
        "\n\n\nr = tw.inline(code, ['a'])",
        "x = 1\nr = tw.inline(code, 'a')",
    ]
    with counts() as c:
        for i, text in enumerate(texts):
            scope = {"tw": tw, "code": "".join(list(code)), "a": i}
            exec(compile(text, f"file{i}.py", "exec"), scope)
            assert scope["r"] == i
    assert c.compiles == 1


def test_different_names_types_and_texts_are_compiled_apart(fresh, counts):
    code = fresh("return_val = sizeof(a);")
    with counts() as c:
        tw.inline(code, ["a"], {"a": 1})
        tw.inline(code, ["a"], {"a": 1.5})
        tw.inline(code, ["a", "b"], {"a": 1, "b": 1})
        tw.inline(code + " ", ["a"], {"a": 1})
    assert c.compiles == 4


def test_shapes_and_strides_are_not_in_the_key(fresh, counts):
    code = fresh("return_val = Na[0];")
    with counts() as c:
        for a in (np.zeros(3), np.zeros((4, 5)), np.zeros((5, 4)).T, np.zeros(10)[::2], np.zeros((0, 2))):
            assert tw.inline(code, ["a"]) == len(a)
    assert c.compiles == 1


TWO_PROCESSES = """
a = 3
x = np.arange(4.0)
print(tw.inline("return_val = a + 1;", ["a"]), tw.inline("return_val = x[1];", ["x"]), *tw.cache.info()[:6])
"""


def test_the_second_process_compiles_nothing(python_cached):
    first = python_cached(TWO_PROCESSES).out.split()
    assert first == ["4", "1.0", "2", "0", "0", "2", "0", "0"]
    for text in (TWO_PROCESSES, "\n\n\n" + TWO_PROCESSES):  # another line, the same entries
        assert python_cached(text).out.split() == ["4", "1.0", "0", "0", "2", "0", "0", "0"]


def test_entries_are_private(python_cached):
    python_cached(TWO_PROCESSES)
    files = [path for path in python_cached.folder.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert path.suffix == ".o" and path.stem[:2] == path.parent.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes()[:4] == b"\x7fELF"
    for folder in (python_cached.folder, *{path.parent for path in files}):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_damaged_entry_is_a_miss(python_cached):
    python_cached(TWO_PROCESSES)
    files = sorted(path for path in python_cached.folder.rglob("*.o"))
    size = len(files[0].read_bytes())
    for place in (0, size // 3, size // 2, size - 1):
        for path in files:
            content = bytearray(path.read_bytes())
            content[min(place, len(content) - 1)] ^= 1
            path.write_bytes(content)
        done = python_cached(TWO_PROCESSES).out.split()
        assert done == ["4", "1.0", "2", "0", "0", "2", "0", "2"]
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    assert python_cached(TWO_PROCESSES).out.split()[:3] == ["4", "1.0", "2"]
    assert python_cached(TWO_PROCESSES).out.split()[:3] == ["4", "1.0", "0"]


def test_off_writes_and_reads_nothing(python_cached):
    done = python_cached(TWO_PROCESSES, environment={"TINYWEAVE_CACHE": "off"})
    assert done.out.split() == ["4", "1.0", "2", "0", "0", "0", "0", "0"] and done.error == ""
    assert not python_cached.folder.exists()


def test_readonly_reads(python_cached):
    only = {"TINYWEAVE_CACHE": "readonly"}
    assert python_cached(TWO_PROCESSES, environment=only).out.split()[2:6] == ["2", "0", "0", "0"]
    assert not python_cached.folder.exists()
    python_cached(TWO_PROCESSES)
    done = python_cached(TWO_PROCESSES, environment=only)
    assert done.out.split()[2:6] == ["0", "0", "2", "0"] and done.error == ""


def test_an_unset_home_costs_only_a_recompile(python):
    unset = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "TINYWEAVE_CACHE_DIR"])
    # Without HOME it is the password file that names the folder: it is only read here.
    readonly = {**unset, "TINYWEAVE_CACHE": "readonly"}
    assert python(TWO_PROCESSES, environment=readonly).out.split()[:2] == ["4", "1.0"]
    nowhere = {**unset, "HOME": "/dev/null/home"}
    assert python(TWO_PROCESSES, environment=nowhere).out.split()[:3] == ["4", "1.0", "2"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("TINYWEAVE_CACHE", "perhaps"), ("TINYWEAVE_CACHE_SIZE", "much"), ("TINYWEAVE_CACHE_SIZE", "-1")],
)
def test_a_bad_value_warns_once(python_cached, name, value):
    done = python_cached(TWO_PROCESSES, environment={name: value})
    assert done.out.split()[:2] == ["4", "1.0"]
    assert done.error.count("RuntimeWarning: tinyweave:") == 1
    assert name in done.error and value in done.error


def test_an_unsafe_folder_warns_once_and_is_not_used(python_cached):
    python_cached.folder.mkdir(mode=0o777)
    python_cached.folder.chmod(0o777)
    done = python_cached(TWO_PROCESSES)
    assert done.out.split()[:6] == ["4", "1.0", "2", "0", "0", "0"]
    assert done.error.count("RuntimeWarning: tinyweave:") == 1
    assert list(python_cached.folder.iterdir()) == []


def test_a_symlink_is_not_used(python_cached, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    python_cached.folder.symlink_to(tmp_path / "real")
    done = python_cached(TWO_PROCESSES)
    assert done.out.split()[:3] == ["4", "1.0", "2"]
    assert done.error.count("RuntimeWarning: tinyweave:") == 1
    assert list((tmp_path / "real").iterdir()) == []


def test_a_warning_that_is_an_error_is_raised(python_cached):
    python_cached.folder.mkdir(mode=0o777)
    python_cached.folder.chmod(0o777)
    done = python_cached(
        """
        import warnings
        warnings.simplefilter("error")
        try:
            tw.inline("return_val = 1;")
        except RuntimeWarning:
            print("warned", tw.inline("return_val = 1;"))
        """
    )
    assert done.out.split() == ["warned", "1"]


def test_a_folder_that_cannot_be_made(python, tmp_path):
    (tmp_path / "file").write_text("")
    done = python(TWO_PROCESSES, environment={"TINYWEAVE_CACHE_DIR": tmp_path / "file" / "cache"})
    assert done.out.split()[:3] == ["4", "1.0", "2"]


def test_clear_forgets_everything(python_cached):
    done = python_cached(
        """
        for i in range(3):
            print(tw.inline("static int n; return_val = ++n;"), end=" ")
        print(tw.cache.clear(), tw.cache.info().entries, end=" ")
        print(tw.inline("static int n; return_val = ++n;"), tw.cache.info().compiles)
        """
    )
    assert done.out.split() == ["1", "2", "3", "1", "0", "1", "2"]


def test_clear_removes_nothing_else(python_cached):
    python_cached(TWO_PROCESSES)
    (python_cached.folder / "notes.txt").write_text("mine")
    python_cached("tw.cache.clear()")
    assert [p.name for p in python_cached.folder.rglob("*") if p.is_file()] == ["notes.txt"]


def test_force_replaces_the_entry(python_cached):
    text = """
    for force in (False, True, True, False):
        tw.inline("return_val = 1;", force=force)
    print(*tw.cache.info()[:7])
    """
    assert python_cached(text).out.split() == ["3", "1", "0", "3", "0", "0", "1"]


def test_the_last_1024_kernels_are_kept(python_cached):
    text = """
    def run(i):
        return tw.inline(f"return_val = {i};")
    for i in range(1024):
        assert run(i) == i
    before = tw.cache.info()
    for i in range(1024):
        assert run(i) == i
    after = tw.cache.info()
    print(after.memory_hits - before.memory_hits, after.compiles - before.compiles)
    for i in range(1024, 1034):  # pushes the ten oldest out
        run(i)
    before = tw.cache.info()
    for i in range(10, 1034):
        run(i)
    for i in range(10):
        run(i)
    after = tw.cache.info()
    print(after.memory_hits - before.memory_hits, after.compiles - before.compiles)
    """
    done = python_cached(text, environment={"TINYWEAVE_CACHE": "off"})
    assert done.out.splitlines() == ["1024 0", "1024 10"]


def test_text_without_end_does_not_grow(python_cached):
    """Sites go with their kernels: memory stays where it was after the first 3,000 texts."""
    text = """
    import gc, tracemalloc
    def rss():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    def run(start, count):
        for i in range(start, start + count):
            tw.inline(f"return_val = {i};" + " " * 2000)
    run(0, 3000)
    gc.collect()
    tracemalloc.start()
    before, python = rss(), tracemalloc.get_traced_memory()[0]
    run(3000, 3000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - python
    # The 1,024 sites of before were not traced, those of now are: about 2.5 KiB each.
    print(rss() - before < 30_000_000, grown < 1024 * 4000)
    """
    done = python_cached(text, environment={"TINYWEAVE_CACHE": "off"})
    assert done.out.split() == ["True", "True"]


@pytest.mark.parametrize("value", ["0", "1", "100K", "1M", "1G"])
def test_a_size_is_kept(python_cached, value):
    done = python_cached(TWO_PROCESSES, environment={"TINYWEAVE_CACHE_SIZE": value})
    assert done.out.split()[:3] == ["4", "1.0", "2"] and done.error == ""


def test_the_text_can_be_found_in_the_entry(python_cached):
    python_cached('tw.inline("return_val = 12345 + 1; /* findme */");')
    (path,) = python_cached.folder.rglob("*.o")
    assert b"findme" in path.read_bytes()
