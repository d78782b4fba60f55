"""Smooth a real elevation map and shade it, in C; draw the result and time it.

    python examples/hillshade.py [picture.png] (default: out/hillshade.png)

The map is the Jacksboro fault in Tennessee, a sample file that matplotlib ships: 344 x 403 elevations in
whole metres, 3 seconds of arc apart. Whole metres make terraces on gentle slopes, which a hill-shade shows;
smoothing takes them away.

The cache lies in a temporary folder of this run, so that the first call compiles each time, and the second
process finds what the first one stored.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

PICTURE = Path("out/hillshade.png")
SECOND_PROCESS = "--second-process"  # how this file calls itself

PASSES = 4  # of the smoothing window; more blur real valleys
REPEATS = 15  # warm calls, of which the median is shown

METRES_PER_DEGREE = 60 * 1852.0  # of latitude: 60 nautical miles
SUN_AZIMUTH = 315.0  # degrees clockwise from north; maps are lit from the north-west by custom
SUN_ALTITUDE = 40.0  # degrees above the horizon
EXAGGERATION = 1.5  # of heights, in the shading only: the hills are low

METRES_PER_KM = 1000.0
CLOSE_UP = (19.5, 26.5, 12.5, 19.5)  # km west, east, south, north: a plain, where terraces show
SEA_COLOURS = 0.3  # of matplotlib's gist_earth: blue, not for land

# The slope is Horn's: B. K. P. Horn, "Hill shading and the reflectance map", Proceedings of the IEEE 69 (1),
# 1981, pages 14-47. The shade is the cosine between the surface's normal (-p, -q, 1), p the slope towards
# east and q towards north, and the direction of the sun (Lambert's law); what faces away is black.
# Pointers that advance are libtcc's quickest loops. Beyond the edge of the map its last value goes on.
SHADE = """
/* Shade an elevation map.

   z : elevations, shape (rows, columns), row 0 in the north
   to_east, to_north : what Horn's sums are multiplied with to give slopes
   sun_east, sun_north, sun_up : the direction of the sun, of length 1
   shade : brightness, 0 to 1, of z's shape */
void shade(long rows, long columns, const double z[rows][columns], double to_east, double to_north,
           double sun_east, double sun_north, double sun_up, out double shade[rows][columns])
{
    double down[columns + 2], drop[columns + 2];
    for (long i = 0; i < rows; i++) {
        const double *here = z[i];
        const double *north = i > 0 ? z[i - 1] : here;
        const double *south = i < rows - 1 ? z[i + 1] : here;
        double *fall = drop + 1;
        for (double *sum = down + 1, *end = sum + columns; sum < end; sum += 1) {
            sum[0] = north[0] + 2 * here[0] + south[0];
            fall[0] = north[0] - south[0];
            north += 1, here += 1, south += 1, fall += 1;
        }
        down[0] = down[1], down[columns + 1] = down[columns];
        drop[0] = drop[1], drop[columns + 1] = drop[columns];
        double *to = shade[i];
        fall = drop;
        for (double *sum = down, *end = sum + columns; sum < end; sum += 1) {
            double p = (sum[2] - sum[0]) * to_east;
            double q = (fall[0] + 2 * fall[1] + fall[2]) * to_north;
            double light = (sun_up - p * sun_east - q * sun_north) / sqrt(1 + p * p + q * q);
            to[0] = light > 0 ? light : 0;
            to += 1, fall += 1;
        }
    }
}
"""


def import_or_explain(*names):
    """Import modules by name; where one is missing, leave with a line that says how to get it."""
    modules = []
    for name in names:
        try:
            modules.append(__import__(name, fromlist=["_"]))
        except ImportError as error:
            sys.exit(f"{Path(__file__).name}: cannot import {name} ({error}); pip install 'tinyweave[demo]'")
    return modules


class Terrain:
    """The elevation map in metres, and where the sun stands."""

    def __init__(self):
        np, cbook = import_or_explain("numpy", "matplotlib.cbook")
        with cbook.get_sample_data("jacksboro_fault_dem.npz") as file:
            self.elevation = file["elevation"].astype(float)
            middle = np.radians((file["ymin"] + file["ymax"]) / 2)
            self.spacing_north = float(file["dy"]) * METRES_PER_DEGREE
            self.spacing_east = float(file["dx"]) * METRES_PER_DEGREE * float(np.cos(middle))
        # Horn's differences run over two spacings, with weights whose sum is four.
        self.to_east = EXAGGERATION / (8 * self.spacing_east)
        self.to_north = EXAGGERATION / (8 * self.spacing_north)
        azimuth, altitude = np.radians(SUN_AZIMUTH), np.radians(SUN_ALTITUDE)
        self.sun_east = float(np.sin(azimuth) * np.cos(altitude))
        self.sun_north = float(np.cos(azimuth) * np.cos(altitude))
        self.sun_up = float(np.sin(altitude))


class WithTinyweave:
    """The work in C: a template that comes with tinyweave, and a function of our own."""

    def __init__(self):
        self.np, self.tw = import_or_explain("numpy", "tinyweave")

    def smooth(self, z):
        # a quarter of the template's window is (1 2 1) / 4 down the columns times (1 2 1) / 4 along the rows
        return self.tw.templates.filter2d(self.np.pad(z, 1, mode="edge"))[1:-1, 1:-1] / 4

    def shade(self, z, terrain):
        shade = self.tw.compile(SHADE).shade
        sun = (terrain.sun_east, terrain.sun_north, terrain.sun_up)
        return shade(z, terrain.to_east, terrain.to_north, *sun)


class WithNumPy:
    """The same work in NumPy's slices."""

    def __init__(self):
        (self.np,) = import_or_explain("numpy")

    def smooth(self, z):
        z = self.np.pad(z, 1, mode="edge")
        down = z[:-2] + 2 * z[1:-1] + z[2:]
        return (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 16

    def shade(self, z, terrain):
        z = self.np.pad(z, 1, mode="edge")
        down = z[:-2] + 2 * z[1:-1] + z[2:]
        drop = z[:-2] - z[2:]
        p = (down[:, 2:] - down[:, :-2]) * terrain.to_east
        q = (drop[:, :-2] + 2 * drop[:, 1:-1] + drop[:, 2:]) * terrain.to_north
        return self.light(p, q, terrain)

    def light(self, p, q, terrain):
        light = terrain.sun_up - p * terrain.sun_east - q * terrain.sun_north
        return self.np.maximum(light / self.np.sqrt(1 + p * p + q * q), 0)


class WithScipy(WithNumPy):
    """The same work with scipy.ndimage's filters."""

    WINDOW = ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))
    EASTWARD = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
    NORTHWARD = ((1, 2, 1), (0, 0, 0), (-1, -2, -1))

    def __init__(self):
        super().__init__()
        (self.ndimage,) = import_or_explain("scipy.ndimage")

    def smooth(self, z):
        return self.ndimage.correlate(z, self.WINDOW, mode="nearest")

    def shade(self, z, terrain):
        p = self.ndimage.correlate(z, self.EASTWARD, mode="nearest") * terrain.to_east
        q = self.ndimage.correlate(z, self.NORTHWARD, mode="nearest") * terrain.to_north
        return self.light(p, q, terrain)


def work(way, terrain):
    """The whole job: (hill-shade of the raw map, smoothed map, its hill-shade)."""
    smoothed = terrain.elevation
    for _ in range(PASSES):
        smoothed = way.smooth(smoothed)
    return way.shade(terrain.elevation, terrain), smoothed, way.shade(smoothed, terrain)


def timed(way, terrain):
    """Return (milliseconds, results) of one run of the job."""
    start = perf_counter()
    results = work(way, terrain)
    return 1e3 * (perf_counter() - start), results


def counts(tw):
    """The part of tw.cache.info() that tells where kernels came from."""
    info = tw.cache.info()
    return {name: getattr(info, name) for name in ("compiles", "disk_hits", "memory_hits", "disk_writes")}


def run_second_process():
    """Run the job once, as in a fresh process, and print what it took for the first one to read."""
    terrain, way = Terrain(), WithTinyweave()
    milliseconds, _ = timed(way, terrain)
    print(json.dumps({"milliseconds": milliseconds, "counts": counts(way.tw)}))


def ask_second_process():
    command = [sys.executable, __file__, SECOND_PROCESS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure_warm(ways, terrain):
    """Median milliseconds of each way, run in turn so that all see the same machine."""
    times = [[] for _ in ways]
    for _ in range(REPEATS):
        for way, milliseconds in zip(ways, times, strict=True):
            milliseconds.append(timed(way, terrain)[0])
    return [median(milliseconds) for milliseconds in times]


def largest_difference(results, reference):
    """Of elevations (metres) and of shades (0 to 1)."""
    raw_shade, elevation, shade = (abs(a - b).max() for a, b in zip(results, reference, strict=True))
    return float(elevation), float(max(raw_shade, shade))


def print_table(rows, warm):
    print(f"{'':30}{'time':>10}{'ratio':>8}   largest difference from tinyweave's result")
    for label, milliseconds, difference in rows:
        line = f"{label:30}{milliseconds:7.2f} ms{milliseconds / warm:8.2f}"
        if difference is not None:
            line += "   {:.1e} m of elevation, {:.1e} of shade".format(*difference)
        print(line)


def print_counts(process, values):
    print(f"{process:16}" + "  ".join(f"{name} {value}" for name, value in values.items()))


def draw(terrain, results, path):
    """Before above, after below: elevation, hill-shade, and a part of the hill-shade close up."""
    pyplot, patches = import_or_explain("matplotlib.pyplot", "matplotlib.patches")
    raw_shade, smoothed, shade = results
    rows, columns = terrain.elevation.shape
    width, height = (
        columns * terrain.spacing_east / METRES_PER_KM,
        rows * terrain.spacing_north / METRES_PER_KM,
    )
    west, east, south, north = CLOSE_UP
    lowest, highest = terrain.elevation.min(), terrain.elevation.max()
    sea = lowest - (highest - lowest) * SEA_COLOURS / (1 - SEA_COLOURS)
    common = {"extent": (0, width, 0, height), "interpolation": "nearest"}  # row 0 is the northern edge
    heights = {**common, "cmap": "gist_earth", "vmin": sea, "vmax": highest}
    lights = {**common, "cmap": "gray", "vmin": 0, "vmax": 1}

    figure, axes = pyplot.subplots(2, 3, figsize=(14, 10.6), layout="constrained", sharex="col", sharey="col")
    before = ("before: whole metres", terrain.elevation, raw_shade)
    after = (f"after {PASSES} passes of smoothing", smoothed, shade)
    for (name, elevation, light), (left, middle, right) in zip((before, after), axes, strict=True):
        height_image = left.imshow(elevation, **heights)
        light_image = middle.imshow(light, **lights)
        right.imshow(light, **lights)
        right.set(xlim=(west, east), ylim=(south, north))
        middle.add_patch(
            patches.Rectangle((west, south), east - west, north - south, fill=False, color="tab:red")
        )
        right.spines[:].set_color("tab:red")
        left.set_title(f"Elevation, {name}")
        middle.set_title(f"Hill-shade, {name}")
        right.set_title("The part in the red frame")
        left.set_ylabel("distance north (km)")
    for axis in axes[1]:
        axis.set_xlabel("distance east (km)")
    bar = {"location": "bottom", "aspect": 40, "pad": 0.02}
    height_bar = figure.colorbar(height_image, ax=axes[:, 0], label="elevation above sea level (m)", **bar)
    height_bar.ax.set_xlim(lowest, highest)
    figure.colorbar(
        light_image, ax=axes[:, 1:], label="brightness (cosine between sun and surface normal)", **bar
    )
    figure.suptitle(
        f"The Jacksboro fault, Tennessee: sun {SUN_ALTITUDE:.0f}° high in the north-west, "
        f"heights {EXAGGERATION:g} times in the shading"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(path):
    terrain, way = Terrain(), WithTinyweave()
    first, results = timed(way, terrain)
    first_counts = counts(way.tw)
    second = ask_second_process()
    peers = [WithNumPy(), WithScipy()]
    differences = [largest_difference(work(peer, terrain), results) for peer in peers]
    warm, *peer_times = measure_warm([way, *peers], terrain)

    rows, columns = terrain.elevation.shape
    print(f"{rows} x {columns} elevations, {PASSES} smoothing passes, 2 hill-shades\n")
    print_table(
        [
            ("tinyweave, first call", first, None),
            ("tinyweave, second process", second["milliseconds"], None),
            ("tinyweave, warm call", warm, None),
            ("NumPy", peer_times[0], differences[0]),
            ("scipy.ndimage", peer_times[1], differences[1]),
        ],
        warm,
    )
    print("\ntw.cache.info() after the first call:")
    print_counts("first process", first_counts)
    print_counts("second process", second["counts"])
    draw(terrain, results, path)
    print(f"\nPicture: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, help="file to write (%(default)s)")
    parser.add_argument(SECOND_PROCESS, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.second_process:
        run_second_process()
    else:
        os.environ["MPLBACKEND"] = "Agg"
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TINYWEAVE_CACHE_DIR"] = folder  # read when tinyweave is imported, here and there
            os.environ["TINYWEAVE_CACHE"] = "on"
            main(arguments.picture)
