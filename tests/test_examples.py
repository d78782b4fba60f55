"""The programs in examples/ run as a reader would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def run_example(name, *arguments, folder):
    environment = {**os.environ, "HOME": str(folder), "MPLCONFIGDIR": str(folder / "matplotlib")}
    command = [sys.executable, EXAMPLES / name, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_counts(output, process):
    (line,) = re.findall(rf"^{process} (.*)$", output, re.MULTILINE)
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", line)}


@pytest.fixture(scope="module")
def hillshade(tmp_path_factory):
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    folder = tmp_path_factory.mktemp("hillshade")
    picture = folder / "new" / "picture.png"
    return run_example("hillshade.py", picture, folder=folder), picture


def test_hillshade_writes_a_picture(hillshade):
    _, picture = hillshade
    assert picture.read_bytes().startswith(PNG_SIGNATURE)


def test_hillshade_agrees_with_its_peers(hillshade):
    output, _ = hillshade
    differences = re.findall(r"([-+.\de]+) m of elevation, ([-+.\de]+) of shade", output)
    assert len(differences) == 2  # NumPy, scipy.ndimage
    for elevation, shade in differences:
        assert float(elevation) < 1e-9
        assert float(shade) < 1e-12


def test_hillshade_compiles_in_the_first_process_only(hillshade):
    output, _ = hillshade
    first, second = read_counts(output, "first process"), read_counts(output, "second process")
    assert (first["compiles"], first["disk_hits"], first["disk_writes"]) == (2, 0, 2)
    assert (second["compiles"], second["disk_hits"]) == (0, 2)


def test_hillshade_says_what_is_missing(tmp_path):
    pytest.importorskip("numpy")
    hide = "import sys; sys.modules['matplotlib'] = None; sys.argv = ['hillshade.py']; "
    run = f"import runpy; runpy.run_path({str(EXAMPLES / 'hillshade.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", hide + run], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'tinyweave[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
