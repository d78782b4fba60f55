/* ext_tools.h: what tinyweave/ext_tools.py asks of the core: types of values, snippets as C functions. */
#ifndef TINYWEAVE_EXT_TOOLS_H
#define TINYWEAVE_EXT_TOOLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _ext_argument(name, value): (kind, NumPy's type number, read-only), with the kind's letters as in
 * ARGUMENT_KINDS. Raises as argument_take does. */
PyObject *ext_tools_argument(PyObject *module, PyObject *arguments);

/* _ext_function(c_name, code, label, names, types, macros, headers, support_code, support_label, include_dirs):
 * (text, contents of the user's headers as bytes, a mask for each argument as of snippet_dimensions). `types`
 * holds what _ext_argument returned for each of `names`; labels are file names in messages. Raises
 * CompileError, ValueError for names. */
PyObject *ext_tools_function(PyObject *module, PyObject *arguments);

/* _ext_macros(): tw_return, tw_raise, tw_add and the others, one definition each. */
PyObject *ext_tools_macros(PyObject *module, PyObject *ignored);

#endif
