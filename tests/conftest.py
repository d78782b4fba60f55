"""What every test shares: a cache folder of this run's own, and small helpers."""

import atexit
import contextlib
import gc
import io
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from types import SimpleNamespace

import pytest

# tinyweave reads the variables once, when it is imported.
_folder = tempfile.mkdtemp(prefix="tinyweave-tests-")
os.environ["TINYWEAVE_CACHE_DIR"] = os.path.join(_folder, "cache")
for _name in ("TINYWEAVE_CACHE", "TINYWEAVE_CACHE_SIZE", "TINYWEAVE_NUM_THREADS"):
    os.environ.pop(_name, None)


def _remove(process):
    if os.getpid() == process:  # and not a forked child
        shutil.rmtree(_folder, ignore_errors=True)


atexit.register(_remove, os.getpid())

_numbers = itertools.count()

PREAMBLE = "import sys\nimport numpy as np\nimport tinyweave as tw\n"


@pytest.fixture(autouse=True, scope="module")
def settled():
    """What earlier files left alive is not looked through again by each gc.collect()."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def fresh():
    """Makes a snippet that nobody has compiled yet."""
    return lambda code: f"{code}\n/* {os.getpid()} {next(_numbers)} */"


class Counts:
    """Differences of tw.cache.info() since the block was entered."""

    def __enter__(self):
        import tinyweave as tw

        self.info = tw.cache.info
        self.before = self.info()
        return self

    def __exit__(self, *error):
        self.after = self.info()

    def __getattr__(self, name):
        after = self.__dict__.get("after") or self.info()
        return getattr(after, name) - getattr(self.before, name)


@pytest.fixture
def counts():
    """`with counts() as c: ...` and then c.compiles, c.memory_hits ..."""
    return Counts


def run_python(code, *arguments, check=True, preamble=True, environment=None, timeout=100):
    """Runs the text in a Python of its own. A variable that is None is unset. Returns stdout, stderr and
    the exit status."""
    variables = dict(os.environ)
    variables["PYTHONPATH"] = os.pathsep.join(sys.path)
    for name, value in (environment or {}).items():
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = str(value)
    text = (PREAMBLE if preamble else "") + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check and done.returncode != 0:
        pytest.fail(f"the subprocess ended with {done.returncode}:\n{done.stderr}")
    return SimpleNamespace(out=done.stdout, error=done.stderr, status=done.returncode)


@pytest.fixture
def python():
    """Runs a text in a subprocess, see run_python."""
    return run_python


@pytest.fixture
def python_cached(tmp_path):
    """Runs a text in a subprocess with an empty cache folder, the same one each time."""
    folder = tmp_path / "cache"

    def run(code, *arguments, environment=None, **options):
        merged = {"TINYWEAVE_CACHE_DIR": folder, **(environment or {})}
        return run_python(code, *arguments, environment=merged, **options)

    run.folder = folder
    return run


class Writer(io.TextIOBase):
    """Keeps what is written, text by text."""

    def __init__(self):
        self.parts = []
        self.flushes = 0

    def write(self, text):
        self.parts.append(text)
        return len(text)

    def flush(self):
        self.flushes += 1

    @property
    def text(self):
        return "".join(self.parts)


@pytest.fixture
def written():
    """sys.stdout while the test itself runs."""
    return Writer()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    # Not in the fixture: pytest's own capture puts its stdout in place once the fixtures are made.
    writer = pyfuncitem.funcargs.get("written")
    with contextlib.redirect_stdout(writer) if writer else contextlib.nullcontext():
        return (yield)
