"""tw.explain and the attributes of compiled expressions."""

import pickle

import numpy as np
import pytest

import tinyweave as tw

A, B, F, N = np.arange(4.0), np.ones(4), np.ones(4, "f4"), np.arange(4)


def steps(text):
    """The lines of the steps, as lists of words."""
    lines = [line.split() for line in text.splitlines()]
    return [words[1:] for words in lines if words and words[0].isdigit()]


@pytest.mark.parametrize(
    ("text", "names", "wanted"),
    [
        ("a*2 + b", {"a": A, "b": B}, ["multiply f8[], f8 -> f8[]", "add f8[], f8[] -> f8[]"]),
        ("i + a", {"i": N, "a": A}, ["cast i8[] -> f8[]", "add f8[], f8[] -> f8[]"]),
        ("f*2", {"f": F}, ["multiply f4[], f4 -> f4[]"]),
        ("a > 1", {"a": A}, ["greater f8[], f8 -> b1[]"]),
        ("where(a > 1, a, 0)", {"a": A}, ["greater f8[], f8 -> b1[]", "where b1[], f8[], f8 -> f8[]"]),
        ("float32(a)", {"a": A}, ["cast f8[] -> f4[]"]),
        ("a**2", {"a": A}, ["square f8[] -> f8[]"]),
        ("sum(a*b)", {"a": A, "b": B}, ["multiply f8[], f8[] -> f8[]"]),
        ("a[1:] - a[:-1]", {"a": A}, ["subtract f8[], f8[] -> f8[]"]),
        ("sin(a)*sin(a)", {"a": A}, ["sin f8[] -> f8[]", "multiply f8[], f8[] -> f8[]"]),
        ("1 + 2", {}, []),
        ("a", {"a": A}, []),
    ],
)
def test_steps(text, names, wanted):
    found = [" ".join(words[: words.index("->") + 2]) for words in steps(tw.explain(text, **names))]
    assert found == wanted
    assert steps(tw.explain(text, names)) == steps(tw.explain(text, **names))


def test_who_does_a_step():
    text = tw.explain("a*b + tan(a)", a=A, b=B)
    assert [words[-1] for words in steps(text)] == ["tw_multiply_f8_vv", "loop", "tw_add_f8_vv"]
    assert "NumPy's loop" in text
    assert "void tw_kernel(" in text
    assert "tw_multiply" in text.split("void tw_kernel(")[1]


def test_what_the_names_are():
    text = tw.explain("a*s + i", a=np.ones((3, 4)), s=2.5, i=N)
    first = text.split("\n\n")[0].splitlines()
    assert [line.split(":")[0] for line in first] == ["a", "s", "i"]
    assert "float64" in first[0] and "12 elements" in first[0]
    assert "float" in first[1]
    assert "int64" in first[2]


def test_names_of_the_caller():
    x, y = np.ones(3), np.ones(3, "i4")
    assert steps(tw.explain("x + y")) == steps(tw.explain("x + y", {"x": x}, {"y": y}))
    assert "int32" in tw.explain("x + y")
    assert "int16" in tw.explain("x + y", y=np.ones(3, "i2"))


def test_errors():
    for call, error in (
        (lambda: tw.explain("nowhere + 1"), NameError),
        (lambda: tw.explain("1 +"), SyntaxError),
        (lambda: tw.explain("a + b", a=np.ones(3), b=np.ones(4)), ValueError),
        (lambda: tw.explain("a + 1", a="x"), TypeError),
        (lambda: tw.explain(), TypeError),
        (lambda: tw.explain("1", None, None, None), TypeError),
        (lambda: tw.explain(5), TypeError),
    ):
        with pytest.raises(error):
            call()


def test_explain_leaves_kept_expressions_as_they_are():
    f = tw.expression("a*3 + 17")
    tw.explain("a*3 + 17", a=A)
    assert f.source == ""


def test_attributes():
    f = tw.expression("b*a + b + sum(c)")
    assert f.text == "b*a + b + sum(c)"
    assert f.names == ("b", "a", "c")
    assert repr(f) == "tinyweave.expression('b*a + b + sum(c)')"
    assert type(f) is tw.Expression
    for name in ("text", "names", "source"):
        with pytest.raises(AttributeError):
            setattr(f, name, "")
    with pytest.raises(TypeError):
        tw.Expression()
    assert pickle.loads(pickle.dumps(f)) is f


def test_source_grows_with_the_types():
    f = tw.expression("x*23 + y")
    assert f.source == ""
    f(A, B)
    first = f.source
    assert [words[0] for words in steps(first)] == ["multiply", "add"]
    f(A, B * 2)
    assert f.source == first
    f(F, F)
    assert "f4[]" in f.source
    assert len(steps(f.source)) == 4


def test_values_of_scalars_are_no_part_of_the_source():
    f = tw.expression("x*k")
    f(A, 2)
    source = f.source
    f(A, 3)
    assert f.source == source
