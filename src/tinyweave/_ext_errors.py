"""A compiler's error in the C file of an extension module -> the line of the user's own text."""

import os
import re

from ._core import CompileError

# What three compilers say of "return_val = x;" with an x that is no result.
_NO_RESULT = re.compile(
    r"'_Generic' selector of type '(.*?)'.* is not compatible|"
    r"controlling expression type '(.*?)'.* not compatible|"
    r"type '(.*?)' does not match any association"
)


def locate(error, texts, file_name, code):
    """Return the same error with a place in a text of the user's, where it has one.

    `texts` has the user's texts by their labels in #line marks, `code` is the text of the C file, whose name
    is `file_name`.
    """
    label, number = _find(error, texts, file_name, code)
    if label not in texts:
        return error
    lines = texts[label].split("\n")
    number = min(max(number, 1), len(lines))
    message, refused = error.msg, _NO_RESULT.search(error.msg)
    if refused:
        number = _line_above(lines, number, "return_val")
        got = next(filter(None, refused.groups()))
        message = f"return_val cannot be a '{got}': give a number, a string, a complex or a PyObject *"
    line = lines[number - 1]
    located = CompileError(message, (label, number, _column(line, error), line))
    for note in getattr(error, "__notes__", ()):
        located.add_note(note)
    return located


def _find(error, texts, file_name, code):
    """The label and line of the error."""
    label, number = error.filename, error.lineno or 0
    if label in texts:
        return label, number
    for note in getattr(error, "__notes__", ()):  # "in expansion of macro 'tw_return'", at the user's line
        for mark in re.finditer(r"^(<[^<>\n]*>):(\d+):", note, re.MULTILINE):
            if mark[1] in texts:
                return mark[1], int(mark[2])
    if os.path.basename(label or "") == file_name:
        return _follow_marks(code.split("\n"), number, texts)
    return label, number


def _follow_marks(lines, number, texts):
    """The place that the #line marks give to a line of the C file.

    Behind a text of the user's, where a missing ';' shows, it is the last line of that.
    """
    for index in range(min(number, len(lines)) - 1, -1, -1):
        mark = re.match(r'#line (\d+) "(.*)"$', lines[index])
        if mark and mark[2] in texts:
            end = len(texts[mark[2]].rstrip().split("\n"))
            return mark[2], min(number - index - 2 + int(mark[1]), end)
    return None, 0


def _line_above(lines, number, word):
    """The nearest line at or above this one that has the word; the line itself where there is none."""
    return next((i for i in range(number, 0, -1) if word in lines[i - 1]), number)


def _column(line, error):
    """Where the error is in the user's line, from 1.

    Compilers saw another line where return_val is rewritten, and count tabs and letters their own way: what
    the message quotes tells better then.
    """
    if _NO_RESULT.search(error.msg):
        return line.find("return_val") + 1 or None
    if "return_val" not in line and "\t" not in line and line.isascii():
        return error.offset
    quoted = re.search(r"'(\w+)'", error.msg)
    found = re.search(rf"\b{quoted[1]}\b", line) if quoted else None
    return found.start() + 1 if found else None
