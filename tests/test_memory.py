"""The cache in memory, against a model of it in Python."""

import ctypes
import hashlib
from collections import OrderedDict

import native_library
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

library = native_library.load()
pointer, size_t = ctypes.c_void_p, ctypes.c_size_t
Destroyed = ctypes.PYFUNCTYPE(None, ctypes.c_int)
for function, result, arguments in [
    ("testing_memory_new", pointer, [size_t]),
    ("testing_memory_delete", None, [pointer]),
    ("testing_memory_entry", pointer, [ctypes.c_char_p, ctypes.c_int, Destroyed]),
    ("testing_memory_number", ctypes.c_int, [pointer]),
    ("testing_memory_check", ctypes.c_int, [pointer] + 3 * [ctypes.POINTER(size_t)]),
    ("memory_clear", None, [pointer]),
    ("memory_find", pointer, [pointer, ctypes.c_char_p]),
    ("memory_insert", None, [pointer, pointer]),
    ("memory_touch", None, [pointer, pointer]),
    ("memory_release", None, [pointer, pointer]),
]:
    getattr(library, function).restype = result
    getattr(library, function).argtypes = arguments


def key_of(name):
    """Names with the same remainder by 3 meet in a bucket whatever the table's size."""
    digest = hashlib.sha256(str(name).encode()).digest()
    return bytes([name % 3]) + bytes(7) + digest[8:]


class Table:
    """The C table. `destroyed` lists the numbers of the entries that went, in order."""

    def __init__(self, limit):
        self.memory = library.testing_memory_new(limit)
        self.destroyed = []
        self.on_destroy = {}
        self.callback = Destroyed(self._destroy)
        self.made = 0

    def _destroy(self, number):
        self.destroyed.append(number)
        self.on_destroy.pop(number, lambda: None)()

    def new(self, name):
        """An entry that is not in the table yet, and its number."""
        number = self.made
        self.made += 1
        return library.testing_memory_entry(key_of(name), number, self.callback), number

    def insert(self, name):
        entry, number = self.new(name)
        library.memory_insert(self.memory, entry)
        return entry, number

    def put(self, name):
        """Insert, and leave the entry to the cache."""
        entry, number = self.insert(name)
        self.release(entry)
        return number

    def find(self, name):
        return library.memory_find(self.memory, key_of(name))

    def has(self, name):
        """The number found under a name, or None. Counts as a use."""
        entry = self.find(name)
        if entry is None:
            return None
        number = library.testing_memory_number(entry)
        self.release(entry)
        return number

    def touch(self, entry):
        library.memory_touch(self.memory, entry)

    def release(self, entry):
        library.memory_release(self.memory, entry)

    def clear(self):
        library.memory_clear(self.memory)

    def check(self):
        """Walk the structure; return entries in the table, entries kept alive, evictions."""
        counts = [size_t() for _ in range(3)]
        assert library.testing_memory_check(self.memory, *counts) == 0
        return tuple(count.value for count in counts)

    def delete(self):
        library.testing_memory_delete(self.memory)
        self.memory = None


@pytest.fixture
def make_table():
    tables = []

    def make(limit):
        tables.append(Table(limit))
        return tables[-1]

    yield make
    for table in tables:
        if table.memory:
            table.delete()
        assert sorted(table.destroyed) == sorted(set(table.destroyed)), "destroyed twice"


def test_find_what_was_inserted(make_table):
    table = make_table(4)
    assert table.find(1) is None
    number = table.put(1)
    assert table.has(1) == number
    assert table.has(4) is None  # the same bucket
    assert table.destroyed == []


def test_last_used_are_kept(make_table):
    table = make_table(3)
    numbers = [table.put(name) for name in range(3)]
    assert table.has(0) == numbers[0]  # 1 is now the oldest
    table.put(3)
    assert table.destroyed == [numbers[1]]
    assert table.has(1) is None
    assert table.check() == (3, 3, 1)


def test_touch_counts_as_use(make_table):
    table = make_table(2)
    first, number = table.insert(0)
    second = table.put(1)
    table.touch(first)
    table.put(2)
    assert table.destroyed == [second]
    table.release(first)
    assert table.has(0) == number


def test_evicted_entry_is_found_while_held(make_table):
    table = make_table(1)
    held, number = table.insert(0)
    table.put(1)
    assert table.check() == (2, 1, 1)
    assert table.has(0) == number  # and is kept alive again by that use
    table.release(held)
    assert table.has(0) == number
    table.put(2)
    assert number in table.destroyed and table.has(0) is None


def test_limit_zero_keeps_nothing(make_table):
    table = make_table(0)
    entry, number = table.insert(0)
    assert table.has(0) == number
    table.release(entry)
    assert table.destroyed == [number]
    assert table.check() == (0, 0, 2)


def test_same_key_again_unlists_the_older(make_table):
    table = make_table(4)
    held, first = table.insert(0)
    second = table.put(0)
    assert table.has(0) == second
    assert table.destroyed == []
    table.touch(held)  # does not bring it back
    assert table.has(0) == second
    table.release(held)
    assert table.destroyed == [first]
    third = table.put(0)
    assert table.destroyed == [first, second]
    assert table.has(0) == third
    assert table.check() == (1, 1, 0)


def test_insert_twice_is_insert_once(make_table):
    table = make_table(2)
    entry, number = table.insert(0)
    library.memory_insert(table.memory, entry)
    assert table.check() == (1, 1, 0)
    table.release(entry)
    assert table.destroyed == []
    table.clear()
    assert table.destroyed == [number]


def test_clear_unlists_what_others_hold(make_table):
    table = make_table(2)
    held, number = table.insert(0)
    old, evicted = table.insert(1)
    others = [table.put(name) for name in (2, 3)]
    table.clear()
    assert table.check()[:2] == (0, 0)
    assert sorted(table.destroyed) == others
    assert table.has(0) is None and table.has(1) is None
    table.release(held)
    table.release(old)
    assert table.destroyed[2:] == [number, evicted]


def test_release_after_the_table_is_gone(make_table):
    table = make_table(2)
    entry, number = table.insert(0)
    memory = ctypes.create_string_buffer(1)  # release() must not look into the freed table
    table.delete()
    assert table.destroyed == []
    library.memory_release(ctypes.addressof(memory), entry)
    assert table.destroyed == [number]


def test_growth(make_table):
    table = make_table(5000)
    numbers = {name: table.put(name) for name in range(5000)}
    assert table.check() == (5000, 5000, 0)
    assert all(table.has(name) == number for name, number in numbers.items())
    table.put(5000)
    assert table.destroyed == [numbers[0]]


def test_destroy_inserts(make_table):
    """An evicted entry puts another one in, under the name that was just inserted."""
    table = make_table(1)
    first = table.put(0)
    table.on_destroy[first] = lambda: table.put(1)
    second = table.put(1)
    assert table.destroyed == [first, second]
    assert table.has(1) == second + 1
    assert table.check()[:2] == (1, 1)


def test_destroy_of_the_replaced_inserts_the_same_key(make_table):
    table = make_table(2)
    first = table.put(0)
    table.on_destroy[first] = lambda: table.put(0)
    second = table.put(0)
    assert table.has(0) == second + 1
    assert table.destroyed == [first, second]


def test_destroy_clears(make_table):
    table = make_table(2)
    numbers = [table.put(name) for name in range(2)]
    table.on_destroy[numbers[0]] = table.clear
    entry, number = table.insert(2)
    assert sorted(table.destroyed) == numbers
    assert table.check()[:2] == (0, 0)
    table.release(entry)
    assert table.destroyed[-1] == number


def test_destroy_inserts_during_clear(make_table):
    """What comes in meanwhile stays; all that was there goes."""
    table = make_table(3)
    numbers = [table.put(name) for name in range(3)]
    for number in numbers:
        table.on_destroy[number] = lambda name=number + 10: table.put(name)
    table.clear()
    assert [number for number in numbers if number not in table.destroyed] == []
    assert [name for name in (10, 11, 12) if table.has(name) is not None] == [10, 11, 12]
    assert table.check()[:2] == (3, 3)


def test_destroy_reinserts_another_during_clear(make_table):
    """Entry 1 is on its way out when the destruction of entry 0 lists it again."""
    table = make_table(3)
    first = table.put(0)
    held, second = table.insert(1)
    table.on_destroy[first] = lambda: library.memory_insert(table.memory, held)
    table.clear()
    assert table.has(1) == second
    table.release(held)
    assert table.destroyed == [first]
    assert table.check()[:2] == (1, 1)


def test_destroy_inserts_during_free(make_table):
    table = make_table(2)
    first = table.put(0)
    table.on_destroy[first] = lambda: table.put(1)
    table.delete()
    assert table.destroyed == [first, first + 1]


def test_destroy_releases_another(make_table):
    """A chain, as a Library that holds its kernels."""
    table = make_table(1)
    entries = [table.new(name) for name in range(50)]
    for (_, number), (follower, _) in zip(entries, entries[1:], strict=False):
        table.on_destroy[number] = lambda entry=follower: table.release(entry)
    for entry, _ in entries[1:]:
        library.memory_insert(table.memory, entry)
    library.memory_insert(table.memory, entries[0][0])
    table.release(entries[0][0])
    assert table.destroyed == []
    table.put(100)
    assert table.destroyed == list(range(50))


class Model(RuleBasedStateMachine):
    """Any order of calls, against an OrderedDict and sets of references."""

    held = Bundle("held")

    @initialize(limit=st.integers(0, 4))
    def start(self, limit):
        self.table = Table(limit)
        self.limit = limit
        self.references = {}  # number -> references held by the test
        self.names = {}  # number -> name
        self.listed = {}  # name -> number
        self.kept = OrderedDict()  # number, the oldest first

    def _settle(self):
        while len(self.kept) > self.limit:
            self.kept.popitem(last=False)
        for name, number in list(self.listed.items()):
            if not self.references[number] and number not in self.kept:
                del self.listed[name]

    def _use(self, number):
        if self.listed.get(self.names[number]) == number:
            self.kept.pop(number, None)
            self.kept[number] = None
        self._settle()

    @rule(target=held, name=st.integers(0, 8))
    def insert(self, name):
        entry, number = self.table.insert(name)
        self.kept.pop(self.listed.get(name), None)
        self.names[number], self.references[number], self.listed[name] = name, 1, number
        self._use(number)
        return entry, number

    @rule(target=held, name=st.integers(0, 8))
    def find(self, name):
        entry = self.table.find(name)
        expected = self.listed.get(name)
        if expected is None:
            assert entry is None
            return None
        assert library.testing_memory_number(entry) == expected
        self.references[expected] += 1
        self._use(expected)
        return entry, expected

    @rule(item=held)
    def touch(self, item):
        if item is not None:
            self.table.touch(item[0])
            self._use(item[1])

    @rule(item=consumes(held))
    def release(self, item):
        if item is not None:
            self.references[item[1]] -= 1
            self.table.release(item[0])
            self._settle()

    @rule()
    def clear(self):
        self.table.clear()
        self.listed.clear()
        self.kept.clear()

    @invariant()
    def agree(self):
        if not hasattr(self, "table"):
            return
        assert self.table.check()[:2] == (len(self.listed), len(self.kept))
        gone = [n for n, count in self.references.items() if not count and n not in self.kept]
        assert sorted(self.table.destroyed) == sorted(gone)

    def teardown(self):
        if not hasattr(self, "table"):
            return
        self.table.delete()
        assert len(self.table.destroyed) == sum(not count for count in self.references.values())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
