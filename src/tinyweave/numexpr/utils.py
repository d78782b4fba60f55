"""Threads, and the names of numexpr's VML switches, which have no effect here."""

import logging
import os

from .. import get_num_threads as _get_num_threads
from .. import set_num_threads as _set_num_threads
from .interpreter import MAX_THREADS, use_vml

log = logging.getLogger(__name__)

_SAFE_THREADS = 16  # the default is no more, however many cores there are


def get_num_threads():
    """The number of threads that expressions are computed with."""
    return _get_num_threads()


def set_num_threads(nthreads):
    """Sets tinyweave's number of threads, at most MAX_THREADS, and returns the one of before."""
    nthreads = int(nthreads)
    if nthreads < 1:
        raise ValueError("nthreads must be a positive integer")
    if nthreads > MAX_THREADS:
        log.warning("%d threads are asked for, NUMEXPR_MAX_THREADS allows %d", nthreads, MAX_THREADS)
    before = _get_num_threads()
    _set_num_threads(min(nthreads, MAX_THREADS))
    return before


def detect_number_of_cores():
    """The number of processors that are online."""
    return os.cpu_count() or 1


def _requested():
    for name in ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name):
            return max(int(os.environ[name]), 1)
    return None


def detect_number_of_threads():
    """Deprecated: the number of threads asked for by the environment, else of processors."""
    log.warning("Deprecated, use `init_num_threads` instead.")
    return min(_requested() or detect_number_of_cores(), MAX_THREADS)


def _init_num_threads():
    """Sets the number of threads that NUMEXPR_NUM_THREADS or OMP_NUM_THREADS asks for, else one a processor
    (at most 16, or NUMEXPR_MAX_THREADS), unless TINYWEAVE_NUM_THREADS is set. Returns it."""
    requested = _requested()
    if requested is None:
        if os.environ.get("TINYWEAVE_NUM_THREADS"):
            return _get_num_threads()
        most = MAX_THREADS if os.environ.get("NUMEXPR_MAX_THREADS") else _SAFE_THREADS
        requested = min(detect_number_of_cores(), most)
    if requested != _get_num_threads():
        set_num_threads(requested)
    return requested


def get_vml_version():
    """None: there is no VML."""


def set_vml_accuracy_mode(mode):
    """No effect without VML; returns None."""


def set_vml_num_threads(nthreads):
    """No effect without VML."""


def get_vml_num_threads():
    """None: there is no VML."""


class CacheDict(dict):
    """A dictionary that holds at most `maxentries` items and forgets the oldest."""

    def __init__(self, maxentries):
        super().__init__()
        self.maxentries = maxentries

    @property
    def c(self):
        return self

    def __setitem__(self, key, value):
        while len(self) >= self.maxentries and key not in self:
            del self[next(iter(self))]
        super().__setitem__(key, value)


__all__ = [
    "CacheDict",
    "detect_number_of_cores",
    "detect_number_of_threads",
    "get_num_threads",
    "get_vml_num_threads",
    "get_vml_version",
    "set_num_threads",
    "set_vml_accuracy_mode",
    "set_vml_num_threads",
    "use_vml",
]
