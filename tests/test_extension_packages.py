"""Accelerators of well-known packages, unchanged from their sources, pass their packages' own tests.

The source distributions come from the package index once, into the virtual environment; without an index
the tests are skipped. Nothing is built or installed: tw.extension stands in for the compiled modules.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

STORE = Path(sys.prefix) / "tinyweave-packages"
UNREACHABLE = []  # asked once, then no more

# name -> (version, folder of the package, {module: its sources and options}, arguments of pytest)
PACKAGES = {
    "markupsafe": (
        "3.0.4",
        "src",
        {"markupsafe._speedups": {"source": ["src/markupsafe/_speedups.c"]}},
        ["tests"],
    ),
    "simplejson": (
        "4.3.0",
        ".",
        {"simplejson._speedups": {"source": ["simplejson/_speedups.c"]}},
        ["simplejson/tests"],
    ),
    "ciso8601": (
        "2.4.1",
        ".",
        {
            "ciso8601": {
                "source": ["module.c", "timezone.c", "isocalendar.c"],
                "define_macros": {"CISO8601_VERSION": "2.4.1", "CISO8601_CACHING_ENABLED": "1"},
            }
        },
        ["tests"],
    ),
    "bitarray": (
        "3.12.3",
        ".",
        {
            "bitarray._bitarray": {"source": ["bitarray/_bitarray.c"]},
            "bitarray._util": {"source": ["bitarray/_util.c"]},
        },
        ["bitarray/test_bitarray.py", "bitarray/test_util.py"],
    ),
    "regex": (
        "2026.11.15",
        ".",
        {"regex._regex": {"source": ["src/_regex.c", "src/_regex_unicode.c"]}},
        ["regex/tests/test_regex.py", "--deselect", "regex/tests/test_regex.py::test_main"],
    ),
}

# Found by every Python the tests start: the modules named in the variable are made by tw.extension.
SITE = """
import importlib.abc
import importlib.machinery
import json
import os
import sys
from pathlib import Path

MODULES = json.loads(os.environ["TINYWEAVE_TEST_MODULES"])


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name in MODULES else None

    def create_module(self, spec):
        import tinyweave as tw

        options = dict(MODULES[spec.name])
        return tw.extension([Path(path) for path in options.pop("source")], spec.name, **options)

    def exec_module(self, module):
        with open(os.environ["TINYWEAVE_TEST_LOADED"], "a") as loaded:
            loaded.write(module.__name__ + "\\n")


sys.meta_path.insert(0, Finder())
"""


def fetch(name, version):
    """The folder of an unpacked source distribution; skips where there is none to be had."""
    folder = STORE / f"{name}-{version}"
    if not folder.is_dir():
        if UNREACHABLE:
            pytest.skip("no package index")
        STORE.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command += ["--retries", "0", "--timeout", "10"]
        try:
            subprocess.run(
                [*command, "--dest", STORE, f"{name}=={version}"],
                check=True,
                capture_output=True,
                timeout=120,
            )
            (archive,) = STORE.glob(f"{name}-{version}.tar.*")
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            UNREACHABLE.append(error)
            pytest.skip(f"no source distribution of {name} {version}: {error}")
        with tarfile.open(archive) as files:
            files.extractall(STORE, filter="data")
    return folder


@pytest.mark.parametrize("name", PACKAGES)
def test_package(name, tmp_path):
    version, root, modules, arguments = PACKAGES[name]
    folder = fetch(name, version)
    for options in modules.values():
        options["source"] = [str(folder / path) for path in options["source"]]
    (tmp_path / "sitecustomize.py").write_text(SITE)
    loaded = tmp_path / "loaded"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(folder / root), *sys.path[1:]]),
        "TINYWEAVE_TEST_MODULES": json.dumps(modules),
        "TINYWEAVE_TEST_LOADED": str(loaded),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-W",
        "ignore",
    ]
    ran = subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert set(modules) <= set(loaded.read_text().split())
