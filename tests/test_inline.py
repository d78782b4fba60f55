"""tw.inline: the promises of its documentation, and how it takes its arguments."""

# ruff: noqa: F841 (snippets read the locals of the test)

import contextlib
import doctest
import inspect

import numpy as np
import pytest

import tinyweave as tw

# ---- The examples ----


def test_a_number_comes_back():
    a = 3
    assert tw.inline("return_val = a + 1;", ["a"]) == 4
    assert a == 3


def test_length_of_a_string():
    assert tw.inline("return_val = strlen(s);", "s", {"s": "a longer string"}) == 15


def test_a_list_is_filled():
    seq = list(range(10))
    result = tw.inline("for (int i = 0; i < 10; i++) PyList_SetItem(seq, i, PyLong_FromLong(2*i));", ["seq"])
    assert result is None
    assert seq == list(range(0, 20, 2))


def test_the_stencil():
    x = np.arange(30.0).reshape(5, 6)
    y = np.zeros_like(x)
    tw.inline(
        "for (int i = 1; i < Nx[0]-1; i++) for (int j = 1; j < Nx[1]-1; j++) "
        "Y2(i,j) = X2(i,j) + .5*(X2(i-1,j) + X2(i+1,j) + X2(i,j-1) + X2(i,j+1)) "
        "+ .25*(X2(i-1,j-1) + X2(i-1,j+1) + X2(i+1,j-1) + X2(i+1,j+1));",
        ["x", "y"],
    )
    expected = np.zeros_like(x)
    expected[1:-1, 1:-1] = 4 * x[1:-1, 1:-1]
    np.testing.assert_array_equal(y, expected)


def test_an_error_is_raised():
    with pytest.raises(ValueError, match="^n is 7$"):
        tw.inline('tw_raise(PyExc_ValueError, "n is %ld", n);', ["n"], {"n": 7})


def test_wrong_c_is_a_compile_error():
    with pytest.raises(tw.CompileError) as info:
        tw.inline("int b = 1 +;", [])
    assert info.value.lineno == 1
    assert info.value.text.rstrip("\n") == "int b = 1 +;"


def test_the_docstring_runs():
    runner = doctest.DocTestRunner()
    finder = doctest.DocTestFinder(exclude_empty=False)
    (test,) = finder.find(tw.inline, "inline", globs={"tw": tw, "np": np}, module=False)
    assert len(test.examples) >= 3
    runner.run(test)
    assert runner.failures == 0


def test_the_signature_is_readable():
    signature = inspect.signature(tw.inline)
    names = list(signature.parameters)
    assert names[:4] == ["code", "arg_names", "local_dict", "global_dict"]
    for name in ("support_code", "headers", "define_macros", "include_dirs", "libraries", "force"):
        assert signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


# ---- The arguments of inline itself ----


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), "a b", " a\n\tb ", "a  b"])
def test_forms_of_arg_names(names):
    assert tw.inline("return_val = 10*a + b;", names, {"a": 1, "b": 2}) == 12


def test_arg_names_may_come_from_a_generator():
    code = "return_val = a - b;"
    for _ in range(3):
        assert tw.inline(code, (name for name in ["a", "b"]), {"a": 1, "b": 2}) == -1


def test_a_generator_of_names_beside_other_names(fresh):
    code = fresh("return_val = a - b;")
    assert tw.inline(code, ["b", "a"], {"a": 1, "b": 2}) == -1
    for _ in range(3):
        assert tw.inline(code, iter(["a", "b"]), {"a": 1, "b": 2.5}) == -1.5


def test_everything_by_keyword():
    names = {"a": 4}
    assert tw.inline(code="return_val = a;", arg_names="a", local_dict=names, global_dict={}) == 4


def test_no_names():
    assert tw.inline("return_val = 1;") == 1
    assert tw.inline("return_val = 1;", "") == 1


def test_order_of_names_does_not_matter_for_the_result():
    names = {"a": 1, "b": 2.5}
    assert tw.inline("return_val = a - b;", ["a", "b"], names) == -1.5
    assert tw.inline("return_val = a - b;", ["b", "a"], names) == -1.5


def test_str_subclasses_are_strings():
    class Text(str):
        pass

    assert tw.inline(Text("return_val = a;"), [Text("a")], {"a": 3}) == 3


@pytest.mark.parametrize("code", [None, 3, b"return_val = 1;", ["return_val = 1;"]])
def test_code_must_be_text(code):
    with pytest.raises(TypeError, match="'code' must be str"):
        tw.inline(code, [])


def test_code_is_needed():
    with pytest.raises(TypeError, match="code"):
        tw.inline()
    with pytest.raises(TypeError, match="code"):
        tw.inline(arg_names="a")


def test_too_many_arguments():
    with pytest.raises(TypeError, match="at most 4 positional"):
        tw.inline("", (), {}, {}, "")


def test_an_argument_twice():
    with pytest.raises(TypeError, match="multiple values for argument 'code'"):
        tw.inline("", code="")


@pytest.mark.parametrize("names", [3, b"a", [3], [b"a"], [None], {"a": 1}.items(), 1.5])
def test_arg_names_must_be_strings(names):
    with pytest.raises(TypeError):
        tw.inline("return_val = 1;", names, {"a": 1})


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a.b", "a b", "a;", "a[0]"])
def test_names_must_be_identifiers(name):
    with pytest.raises(ValueError, match="identifier"):
        tw.inline("return_val = 1;", [name], {name: 1})


KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while asm typeof _Bool _Complex _Generic _Atomic
"""


@pytest.mark.parametrize("name", KEYWORDS.split())
def test_keywords_of_c_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' is a keyword of C"):
        tw.inline("return_val = 1;", [name], {name: 1})


@pytest.mark.parametrize(
    "name",
    ["printf", "sin", "strlen", "size_t", "NULL", "PyObject", "PyList_SetItem", "Py_None", "PyExc_ValueError"]
    + ["tw_raise", "tw_complex", "tw_anything", "return_val", "stdout", "int32_t", "malloc", "true", "bool"],
)
def test_names_that_c_has_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' is a name C code has already"):
        tw.inline("return_val = 1;", [name], {name: 1})


@pytest.mark.parametrize("name", ["Na", "Sa", "Da", "a_array", "A1", "A2", "A3", "A4", "py_a"])
def test_names_an_array_brings_along_are_refused(name):
    values = {"a": np.zeros(2), name: 1}
    for names in (["a", name], [name, "a"]):
        with pytest.raises(ValueError, match=f"'{name}' cannot name an argument: argument 'a' brings it"):
            tw.inline("return_val = 1;", names, values)


@pytest.mark.parametrize("name", ["Sa", "Da", "a_array", "A1", "A5"])
def test_a_scalar_does_not_bring_them_along(name):
    assert tw.inline(f"return_val = {name};", ["a", name], {"a": 1, name: 2}) == 2


def test_a_string_brings_its_length():
    with pytest.raises(ValueError, match="'Na'"):
        tw.inline("return_val = 1;", ["a", "Na"], {"a": "text", "Na": 2})


def test_a_name_twice():
    with pytest.raises(ValueError, match="'a' is named twice"):
        tw.inline("return_val = a;", ["a", "a"], {"a": 1})


def test_names_beyond_ascii():
    """A name that Python takes is taken, or refused by a ValueError or CompileError; never anything else."""
    with contextlib.suppress(ValueError, tw.CompileError):
        assert tw.inline("return_val = é + 1;", ["é"], {"é": 1}) == 2


def test_long_names():
    name = "a" * 200
    x = np.arange(6.0).reshape(2, 3)
    assert tw.inline(f"return_val = {name.upper()}2(1,2) + N{name}[0];", [name], {name: x}) == 7.0
    for length in (250, 300, 1000):
        name = "b" * length
        try:
            assert tw.inline(f"return_val = {name} + 1;", [name], {name: 1}) == 2
        except ValueError as error:
            assert "long" in str(error)


def test_weaves_keywords_are_refused():
    for keyword in [
        "compiler",
        "customize",
        "type_converters",
        "auto_downcast",
        "newarr_converter",
        "sources",
        "extra_objects",
        "extra_link_args",
        "runtime_library_dirs",
        "export_symbols",
        "swig_opts",
        "depends",
        "language",
    ]:
        with pytest.raises(TypeError, match=f"inline\\(\\) takes no '{keyword}': .+"):
            tw.inline("return_val = 1;", [], **{keyword: None})


def test_unknown_keywords_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        tw.inline("return_val = 1;", [], colour=1)


def test_verbose_tells_where_the_kernel_came_from(fresh, capfd):
    code = fresh("return_val = a + 70;")
    tw.inline(code, ["a"], {"a": 1}, verbose=1)
    assert "compiled" in capfd.readouterr().err
    tw.inline(code, ["a"], {"a": 1}, verbose=2, force=True)
    assert "a + 70" in capfd.readouterr().err
    tw.inline(code, ["a"], {"a": 1})
    assert capfd.readouterr().err == ""


def test_force_compiles_anew(fresh, counts):
    code = fresh("static int n; return_val = ++n;")
    assert [tw.inline(code) for _ in range(3)] == [1, 2, 3]
    with counts() as c:
        assert tw.inline(code, force=True) == 1
    assert c.compiles == 1
    with counts() as c:
        assert [tw.inline(code) for _ in range(2)] == [2, 3]
    assert c.compiles == 0


def test_scalars_do_not_come_back():
    a, b = 1, 2.5
    tw.inline("a = 100; b = 100;", ["a", "b"])
    assert (a, b) == (1, 2.5)


def test_many_arguments():
    for count in (1, 8, 9, 40, 200):
        values = {f"v{i}": i for i in range(count)}
        text = " + ".join(values)
        assert tw.inline(f"return_val = {text};", list(values), values) == sum(range(count))


def test_an_empty_snippet():
    for code in ("", " ", "\n", ";", "/* nothing */", "// nothing", "// nothing\\", "# \n"):
        assert tw.inline(code, []) is None


def test_a_snippet_that_ends_in_a_comment():
    assert tw.inline("return_val = 2; // the end") == 2
    assert tw.inline("return_val = 2; /* the end */") == 2


def test_statics_belong_to_a_snippet_and_its_types(fresh):
    code = fresh("static int n; n++; return_val = n;")
    assert [tw.inline(code, ["a"], {"a": v}) for v in (1, 2, 1.5, 3, 2.5)] == [1, 2, 1, 3, 2]


def test_only_the_public_names():
    assert {"inline", "cache", "CompileError", "__version__"} <= set(tw.__all__)
    assert all(getattr(tw, name).__doc__ for name in ("inline", "cache", "CompileError"))
    assert issubclass(tw.CompileError, SyntaxError)
