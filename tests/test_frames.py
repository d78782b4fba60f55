"""Where names are looked up: in the caller's frame, whatever it is, or in the mappings given."""

# ruff: noqa: B007, B008, F821, F841, PIE794 (snippets read the locals of the test)

import collections
import gc
import sys
import types

import pytest

import tinyweave as tw

value_of_module = 42
shadowed = "global"
CODE = "return_val = py_a;"
at_module_level = tw.inline("return_val = value_of_module + 1;", ["value_of_module"])


def test_module_level():
    assert at_module_level == 43
    assert tw.inline("return_val = value_of_module;", ["value_of_module"]) == 42


def test_a_local_hides_a_global():
    assert tw.inline("return_val = py_shadowed;", ["shadowed"]) == "global"

    def inner():
        shadowed = "local"
        return tw.inline("return_val = py_shadowed;", ["shadowed"])

    assert inner() == "local"


def test_arguments_of_every_kind():
    def f(a, /, b, *args, c=3, **kwargs):
        return tw.inline(
            'return_val = Py_BuildValue("(OOOOO)", py_a, py_b, py_c, args, kwargs);',
            ["a", "b", "c", "args", "kwargs"],
        )

    assert f(1, 2, 4, 5, c=6, d=7) == (1, 2, 6, (4, 5), {"d": 7})


def test_cells_and_free_variables():
    a = 1
    b = 2

    def inner():
        c = a + 10
        return tw.inline("return_val = 100*a + c;", ["a", "c"]), lambda: c

    assert inner()[0] == 111
    a = 5
    assert inner()[0] == 515
    assert tw.inline("return_val = a;", ["a"]) == 5  # a cell here


def test_an_argument_that_is_a_cell():
    def outer(a):
        keep = lambda: a  # noqa: E731
        return tw.inline(CODE, ["a"])

    assert outer("x") == "x"


def test_a_nonlocal_that_changes():
    a = 0

    def step():
        nonlocal a
        a += 1
        return tw.inline("return_val = a;", ["a"])

    assert [step() for _ in range(3)] == [1, 2, 3]


def test_a_name_that_only_an_enclosing_function_has():
    hidden = 1

    def inner():
        return tw.inline("return_val = hidden;", ["hidden"])

    with pytest.raises(NameError, match="'hidden'.*enclosing function"):
        inner()


def test_a_missing_name():
    for _ in range(2):
        with pytest.raises(NameError, match="'no_such_name'"):
            tw.inline("return_val = 1;", ["no_such_name"])


def test_a_builtin_is_no_local_and_no_global():
    with pytest.raises(NameError, match="'len'"):
        tw.inline("return_val = 1;", ["len"])


def test_an_unbound_local_hides_a_global():
    def f():
        if False:
            shadowed = 1
        return tw.inline("return_val = py_shadowed;", ["shadowed"])

    with pytest.raises(NameError, match="'shadowed'.*no value"):
        f()


def test_an_empty_cell():
    def f():
        if False:
            shadowed = 1
        keep = lambda: shadowed  # noqa: E731
        return tw.inline("return_val = py_shadowed;", ["shadowed"])

    with pytest.raises(NameError, match="'shadowed'"):
        f()


def test_a_deleted_variable():
    a = 1
    assert tw.inline(CODE, ["a"]) == 1
    del a
    with pytest.raises(NameError, match="'a'.*no value"):
        tw.inline(CODE, ["a"])
    a = 2
    assert tw.inline(CODE, ["a"]) == 2


class Body:
    a = "class"
    got = tw.inline(CODE, ["a"])
    outer = tw.inline("return_val = value_of_module;", ["value_of_module"])
    a = "changed"
    again = tw.inline(CODE, ["a"])


def test_class_bodies():
    assert (Body.got, Body.outer, Body.again) == ("class", 42, "changed")

    def f(a):
        class Inner:
            b = tw.inline("return_val = py_a;", ["a"], {"a": a})
            c = 5
            d = tw.inline("return_val = c;", ["c"])

        return Inner.b, Inner.d

    assert f("x") == ("x", 5)


def test_a_class_body_with_a_mapping_of_its_own():
    class Meta(type):
        @classmethod
        def __prepare__(cls, name, bases):
            return collections.ChainMap({}, {"given": 7})

        def __new__(cls, name, bases, namespace):
            return super().__new__(cls, name, bases, dict(namespace))

    class Made(metaclass=Meta):
        got = tw.inline("return_val = given;", ["given"])

    assert Made.got == 7


def test_comprehensions():
    scale = 10
    assert [tw.inline("return_val = i;", ["i"]) for i in range(3)] == [0, 1, 2]
    assert {tw.inline("return_val = i*scale;", ["i", "scale"]): scale for i in range(3)} == {
        0: 10,
        10: 10,
        20: 10,
    }
    assert list(tw.inline("return_val = i;", ["i"]) for i in range(3)) == [0, 1, 2]  # noqa: C400
    assert [[tw.inline("return_val = 10*i + j;", "i j") for j in range(2) if i >= 0] for i in range(2)] == [
        [0, 1],
        [10, 11],
    ]


def test_lambdas_and_defaults():
    assert (lambda a: tw.inline(CODE, ["a"]))(3) == 3
    assert (lambda a=tw.inline("return_val = value_of_module;", ["value_of_module"]): a)() == 42


def test_generators_and_coroutines():
    def generator():
        for a in range(3):
            yield tw.inline("return_val = a;", ["a"])

    assert list(generator()) == [0, 1, 2]

    async def coroutine(a):
        return tw.inline("return_val = a;", ["a"])

    with pytest.raises(StopIteration) as info:
        coroutine(5).send(None)
    assert info.value.value == 5


def test_exec_and_eval():
    names = {"tw": tw, "a": 1}
    exec("b = tw.inline('return_val = a + 1;', ['a'])", names)
    assert names["b"] == 2
    local = {"a": 10}
    exec("b = tw.inline('return_val = a + c;', ['a', 'c'])", {"tw": tw, "a": 1, "c": 5}, local)
    assert local["b"] == 15
    assert eval("tw.inline('return_val = a;', ['a'])", {"tw": tw}, {"a": 3}) == 3

    class Mapping(dict):
        def __missing__(self, key):
            if key in ("tw", "range"):
                raise KeyError(key)
            return len(key)

    assert eval("tw.inline('return_val = abc;', ['abc'])", {"tw": tw}, Mapping()) == 3


def test_exec_within_a_function_sees_its_mapping_only():
    a = 1
    scope = {}
    exec("def f(a):\n    import tinyweave\n    return tinyweave.inline('return_val = a;', ['a'])", scope)
    assert scope["f"](9) == 9


def test_called_by_a_c_function():
    """map, sorted and partial have no Python frame: the frame below counts."""
    import functools

    a = 6
    assert list(map(tw.inline, ["return_val = a;"], [["a"]])) == [6]
    assert functools.partial(tw.inline, "return_val = a;", ["a"])() == 6


def test_sixty_locals():
    lines = ["def f():", *(f"    v{i} = {i}" for i in range(60))]
    lines += ["    a = tw.inline('return_val = v0 + v59 + v31;', ['v59', 'v0', 'v31'])"]
    lines += ["    return a, tw.inline('return_val = v30;', 'v30')"]
    scope = {"tw": tw}
    exec("\n".join(lines), scope)
    for _ in range(3):
        assert scope["f"]() == (90, 30)


def test_one_snippet_from_many_frames(fresh, counts):
    """The place where a name stood last time is only a hint."""
    code = fresh("return_val = 10*a + b;")
    functions = []
    for order in ("a, b", "b, a", "c, a, b", "b, c, d, a", "d, e, f, g, b, a"):
        scope = {"tw": tw, "code": code}
        exec(f"def f({order}):\n    return tw.inline(code, ['a', 'b'])", scope)
        functions.append((scope["f"], order.split(", ")))
    with counts() as c:
        for _ in range(3):
            for function, order in functions:
                values = dict.fromkeys(order, 5) | {"a": 1, "b": 2}
                assert function(**values) == 12
    assert c.compiles == 1


def test_recursion_sees_its_own_frame():
    def down(n):
        below = down(n - 1) if n else []
        return [*below, tw.inline("return_val = n;", ["n"])]

    assert down(20) == list(range(21))


def test_a_frame_with_a_trace_function():
    a = 1
    seen = []

    def trace(frame, event, argument):
        seen.append(frame.f_locals.get("a"))
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:

        def f():
            a = 5
            b = tw.inline("return_val = a;", ["a"])
            a = 6
            return b + tw.inline("return_val = a;", ["a"])

        result = f()
    finally:
        sys.settrace(old)
    assert result == 11 and 5 in seen


def test_after_locals_was_called():
    a = 1
    locals()["a"] = 5
    assert tw.inline("return_val = a;", ["a"]) == 1
    a = 2
    locals()
    assert tw.inline("return_val = a;", ["a"]) == 2


def test_looking_up_makes_no_frame_objects(fresh):
    code = fresh("return_val = a;")

    def f(a):
        return tw.inline(code, ["a"])

    f(1)
    gc.collect()
    before = sum(type(o) is types.FrameType for o in gc.get_objects())
    for i in range(100):
        f(i)
    assert sum(type(o) is types.FrameType for o in gc.get_objects()) == before


def test_names_that_are_not_interned():
    a = 5
    name = "".join(["long_", "variable ", "name"]).replace(" ", "_")
    long_variable_name = 6
    assert tw.inline(f"return_val = {name};", [name]) == 6
    assert tw.inline("return_val = a;", ["".join(["a", ""])]) == 5


# ---- local_dict and global_dict ----


def test_local_dict_instead_of_the_frame():
    a = 1
    assert tw.inline("return_val = a;", ["a"], {"a": 2}) == 2
    with pytest.raises(NameError, match="'a' is not defined in local_dict"):
        tw.inline("return_val = a;", ["a"], {})
    assert tw.inline("return_val = value_of_module;", ["value_of_module"], {}) == 42


def test_global_dict_instead_of_the_globals():
    assert tw.inline("return_val = value_of_module;", ["value_of_module"], None, {"value_of_module": 1}) == 1
    with pytest.raises(NameError, match="'value_of_module'"):
        tw.inline("return_val = value_of_module;", ["value_of_module"], None, {})
    assert tw.inline("return_val = 10*a + b;", ["a", "b"], {"a": 1}, {"a": 5, "b": 2}) == 12
    b = 7
    assert tw.inline("return_val = b;", ["b"], None, {"b": 2}) == 7


@pytest.mark.parametrize(
    "mapping",
    [
        types.MappingProxyType({"a": 1}),
        collections.ChainMap({}, {"a": 1}),
        collections.UserDict(a=1),
        collections.OrderedDict(a=1),
        collections.defaultdict(lambda: 1),
    ],
    ids=lambda m: type(m).__name__,
)
def test_any_mapping(mapping):
    assert tw.inline("return_val = a;", ["a"], mapping) == 1
    assert tw.inline("return_val = a;", ["a"], {}, mapping) == 1


class Asked:
    """A mapping that only has __getitem__."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def __getitem__(self, name):
        self.asked.append(name)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def test_a_mapping_is_asked_once_for_each_name():
    mapping = Asked(3)
    assert tw.inline("return_val = a + b;", ["a", "b"], mapping) == 6
    assert mapping.asked == ["a", "b"]


@pytest.mark.parametrize(
    "error", [ValueError("v"), IndexError("i"), RuntimeError("r"), AttributeError("a")], ids=repr
)
def test_a_mapping_that_raises(error):
    with pytest.raises(type(error)) as info:
        tw.inline("return_val = a;", ["a"], Asked(error))
    assert info.value is error
    with pytest.raises(type(error)) as info:
        tw.inline("return_val = a;", ["a"], {}, Asked(error))
    assert info.value is error


def test_key_error_means_not_there():
    assert tw.inline("return_val = a;", ["a"], Asked(KeyError("a")), {"a": 4}) == 4
    with pytest.raises(NameError):
        tw.inline("return_val = a;", ["a"], Asked(KeyError("a")), Asked(KeyError("a")))


def test_a_mapping_that_clears_the_cache(fresh):
    code = fresh("return_val = a;")

    class Clearing:
        def __getitem__(self, name):
            tw.cache.clear()
            return 5

    for _ in range(3):
        assert tw.inline(code, ["a"], Clearing()) == 5


def test_a_mapping_that_runs_the_same_snippet(fresh):
    code = fresh("return_val = a;")

    class Nested:
        depth = 0

        def __getitem__(self, name):
            if self.depth == 5:
                return 5
            self.depth += 1
            return tw.inline(code, ["a"], self)

    for _ in range(3):
        assert tw.inline(code, ["a"], Nested()) == 5


def test_a_callback_that_clears_the_cache(fresh):
    code = fresh("Py_XDECREF(PyObject_CallNoArgs(clear)); return_val = 5;")
    clear = tw.cache.clear
    for _ in range(3):
        assert tw.inline(code, ["clear"]) == 5
