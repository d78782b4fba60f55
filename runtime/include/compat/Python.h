/* Python.h: in front of Python's own, for C sources of the Python 2 age: tw.extension(..., compat=True).
 *
 * What it maps, in the order of this file:
 *
 *   objects      self->ob_type, ob_refcnt and ob_size of any struct; PyObject_HEAD_INIT(type) without braces, as
 *                in "PyObject_HEAD_INIT(NULL) 0, "name", ..."; Py_TYPE(x) = ...
 *   words        staticforward, statichere, DL_EXPORT, DL_IMPORT, Py_PROTO, ANY, intargfunc and its kin
 *   int          PyInt_... is PyLong_...; PyInt_Check is true of an int that fits into a C long
 *   str          PyString_... of a str is its UTF-8 form. PyString_FromString makes a str; where the bytes are no
 *                UTF-8 it makes bytes, and so does PyString_FromStringAndSize(NULL, n) until _PyString_Resize cuts it
 *                to what was written. PyString_Check is true of bytes and of ASCII str: other str are what the
 *                source knows as Unicode
 *   unicode      PyUnicode_AS_UNICODE, also from Python 3.12 on: a copy that lives as long as the str, which C may
 *                write to, but not change the str by; PyUnicode_FromUnicode needs its text there; PyUnicode_Encode...
 *   arguments    PyArg_Parse...: "s#" with a C int unless PY_SSIZE_T_CLEAN is defined, "S" and "O!" with
 *                PyString_Type take str or bytes, "c" a str of length 1, "t#" as "s#"; Py_BuildValue likewise;
 *                PyArg_NoArgs, PyArg_GetInt
 *   numbers      PyNumber_Divide (of two ints rounded down), PyNumber_Int, PyNumber_Coerce, PyObject_Compare ...
 *   calls        PyEval_CallObject and its kin, METH_OLDARGS, Py_FindMethod, PyCObject_..., PyBuffer_FromMemory,
 *                PyInstance_..., PyExc_StandardError
 *   types        PyNumberMethods and PyBufferProcs as they lay in memory then; tp_compare becomes comparisons,
 *                nb_divide the operator /, nb_nonzero the truth, sq_slice and sq_ass_slice x[i:j]. Without
 *                Py_TPFLAGS_CHECKTYPES a number's slots see operands of one type, or what nb_coerce made of them.
 *                tp_print, nb_oct and nb_hex are never called. A type is made ready when its first object is made.
 *                Not in a source that also has a PyInit_ function: its slots lie as in Python 3
 *   modules      Py_InitModule, Py_InitModule3, Py_InitModule4
 *   files        PyFile_Check is false and PyFile_AsFile gives NULL
 *
 * Not there: ob_sval and ob_size of a PyStringObject and ob_ival of a PyIntObject, which are an error: write
 * PyString_AS_STRING, PyString_GET_SIZE, PyInt_AS_LONG; old classes, buffers in segments.
 */
#ifndef TINYWEAVE_COMPAT_PYTHON_H
#define TINYWEAVE_COMPAT_PYTHON_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#define TW_INT_SIZES /* of "s#" */
#endif

/* ---- objects ---- */

/* Without its name the head's members are the struct's own. Python's headers use the name in assertions alone. */
#ifdef NDEBUG
#define TW_NDEBUG
#else
#define NDEBUG
#endif
#define ob_base
#include_next <Python.h>
#undef ob_base
#ifndef TW_NDEBUG
#undef NDEBUG
#include <assert.h>
#endif
#include <structmember.h>

#undef PyObject_HEAD
#define PyObject_HEAD                                                                              \
    union {                                                                                        \
        PyObject ob_base;                                                                          \
        struct {                                                                                   \
            Py_ssize_t ob_refcnt;                                                                  \
            PyTypeObject *ob_type;                                                                 \
        };                                                                                         \
    };
#undef PyObject_VAR_HEAD
#define PyObject_VAR_HEAD                                                                          \
    union {                                                                                        \
        PyVarObject ob_base;                                                                       \
        struct {                                                                                   \
            Py_ssize_t ob_refcnt;                                                                  \
            PyTypeObject *ob_type;                                                                 \
            Py_ssize_t ob_size;                                                                    \
        };                                                                                         \
    };

#ifdef _Py_IMMORTAL_REFCNT
#define TW_STATIC_REFCNT _Py_IMMORTAL_REFCNT
#else
#define TW_STATIC_REFCNT 1
#endif
#undef PyObject_HEAD_INIT
#define PyObject_HEAD_INIT(type) TW_STATIC_REFCNT, type,
#undef PyVarObject_HEAD_INIT
#define PyVarObject_HEAD_INIT(type, size) PyObject_HEAD_INIT(type) size,

#undef Py_TYPE
#define Py_TYPE(op) (((PyObject *)(op))->ob_type)
#undef Py_REFCNT
#define Py_REFCNT(op) (((PyObject *)(op))->ob_refcnt)
#undef Py_SIZE
#define Py_SIZE(op) (((PyVarObject *)(op))->ob_size)

/* ---- words ---- */

#define staticforward static
#define statichere static
#define DL_EXPORT(type) type
#define DL_IMPORT(type) extern type
#define Py_PROTO(x) x
#define Py_FPROTO(x) x
#define ANY void
#ifndef Py_USING_UNICODE
#define Py_USING_UNICODE
#endif

typedef int (*tw_compare_function)(PyObject *, PyObject *);
typedef int (*tw_coerce_function)(PyObject **, PyObject **);
typedef Py_ssize_t (*tw_buffer_function)(PyObject *, Py_ssize_t, void **);
typedef Py_ssize_t (*tw_segments_function)(PyObject *, Py_ssize_t *);
typedef int (*tw_print_function)(PyObject *, FILE *, int);
#define cmpfunc tw_compare_function
#define coercion tw_coerce_function
#define printfunc tw_print_function
#define intargfunc ssizeargfunc
#define intintargfunc ssizessizeargfunc
#define intobjargproc ssizeobjargproc
#define intintobjargproc ssizessizeobjargproc
typedef PyObject *(*tw_slice_function)(PyObject *, Py_ssize_t, Py_ssize_t);
typedef int (*tw_ass_slice_function)(PyObject *, Py_ssize_t, Py_ssize_t, PyObject *);
#define ssizessizeargfunc tw_slice_function
#define ssizessizeobjargproc tw_ass_slice_function
#define getreadbufferproc tw_buffer_function
#define getwritebufferproc tw_buffer_function
#define getcharbufferproc tw_buffer_function
#define readbufferproc tw_buffer_function
#define writebufferproc tw_buffer_function
#define charbufferproc tw_buffer_function
#define getsegcountproc tw_segments_function
#define segcountproc tw_segments_function

/* ---- int ---- */

static inline int
tw_int_check(PyObject *object)
{
    int overflow = 0;
    if (!PyLong_Check(object)) {
        return 0;
    }
    PyLong_AsLongAndOverflow(object, &overflow);
    return overflow == 0;
}

static inline long
tw_int_as_long(PyObject *object)
{
    if (object == NULL || PyLong_Check(object)) {
        return PyLong_AsLong(object);
    }
    PyObject *number = PyNumber_Long(object);
    long value = number == NULL ? -1 : PyLong_AsLong(number);
    Py_XDECREF(number);
    return value;
}

typedef struct {
    PyObject_HEAD
} PyIntObject; /* without ob_ival */
#define PyInt_Type PyLong_Type
#define PyInt_Check(object) tw_int_check((PyObject *)(object))
#define PyInt_CheckExact(object) (PyLong_CheckExact(object) && tw_int_check((PyObject *)(object)))
#define PyInt_FromLong PyLong_FromLong
#define PyInt_FromSize_t PyLong_FromSize_t
#define PyInt_FromSsize_t PyLong_FromSsize_t
#define PyInt_FromString PyLong_FromString
#define PyInt_AsLong(object) tw_int_as_long((PyObject *)(object))
#define PyInt_AS_LONG(object) tw_int_as_long((PyObject *)(object))
#define PyInt_AsSsize_t(object) PyLong_AsSsize_t((PyObject *)(object))
#define PyInt_AsUnsignedLongMask(object) PyLong_AsUnsignedLongMask((PyObject *)(object))
#define PyInt_AsUnsignedLongLongMask(object) PyLong_AsUnsignedLongLongMask((PyObject *)(object))
#define PyInt_GetMax() LONG_MAX

/* ---- str ---- */

/* Stands for the type in TypeCheck and "O!"; no object has it. */
static PyTypeObject PyString_Type;
typedef struct {
    PyObject_HEAD
} PyStringObject; /* without ob_sval and ob_size, which a str has not */
#define PyBaseString_Type PyUnicode_Type

static inline int
tw_string_check(PyObject *object)
{
    return PyBytes_Check(object) || (PyUnicode_Check(object) && PyUnicode_IS_ASCII(object));
}

static inline int
tw_type_check(PyObject *object, PyTypeObject *type)
{
    return type == &PyString_Type ? tw_string_check(object)
                                  : PyType_IsSubtype(((PyObject *)object)->ob_type, type);
}

#undef PyObject_TypeCheck
#define PyObject_TypeCheck(object, type) tw_type_check((PyObject *)(object), type)
#define PyString_Check(object) tw_string_check((PyObject *)(object))
#define PyString_CheckExact(object)                                                                \
    ((PyBytes_CheckExact(object) || PyUnicode_CheckExact(object)) && PyString_Check(object))

static inline int
tw_string_parts(PyObject *object, char **text, Py_ssize_t *size)
{
    if (object != NULL && PyUnicode_Check(object)) {
        *text = (char *)PyUnicode_AsUTF8AndSize(object, size);
        return *text == NULL ? -1 : 0;
    }
    return PyBytes_AsStringAndSize(object, text, size);
}

static inline char *
tw_string_text(PyObject *object)
{
    char *text = NULL;
    Py_ssize_t size;
    return tw_string_parts(object, &text, &size) < 0 ? NULL : text;
}

static inline Py_ssize_t
tw_string_size(PyObject *object)
{
    char *text;
    Py_ssize_t size = -1;
    return tw_string_parts(object, &text, &size) < 0 ? -1 : size;
}

/* PyString_AsStringAndSize: without a place for the size, a NUL inside is an error; an int's place is filled as one. */
static inline int
tw_string_and_size(PyObject *object, char **text, void *size, int is_int)
{
    Py_ssize_t length;
    if (tw_string_parts(object, text, &length) < 0) {
        return -1;
    }
    if (size == NULL && strlen(*text) != (size_t)length) {
        PyErr_SetString(PyExc_TypeError, "expected string without null bytes");
        return -1;
    }
    if (size != NULL && is_int) {
        *(int *)size = (int)length;
    }
    else if (size != NULL) {
        *(Py_ssize_t *)size = length;
    }
    return 0;
}

/* Text becomes a str, anything else bytes. */
static inline PyObject *
tw_string_new(const char *text, Py_ssize_t size)
{
    if (text == NULL) {
        return PyBytes_FromStringAndSize(NULL, size);
    }
    PyObject *object = PyUnicode_DecodeUTF8(text, size, NULL);
    if (object == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        object = PyBytes_FromStringAndSize(text, size);
    }
    return object;
}

static inline PyObject *
tw_string_unescape(const char *text, Py_ssize_t size, const char *errors, Py_ssize_t unicode,
                   const char *encoding)
{
    PyObject *bytes = PyBytes_DecodeEscape(text, size, errors, unicode, encoding);
    PyObject *string =
        bytes == NULL ? NULL : tw_string_new(PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_XDECREF(bytes);
    return string;
}

static inline PyObject *
tw_string_join(PyObject *left, PyObject *right)
{
    char *texts[2];
    Py_ssize_t sizes[2];
    if (tw_string_parts(left, &texts[0], &sizes[0]) < 0 ||
        tw_string_parts(right, &texts[1], &sizes[1]) < 0) {
        return NULL;
    }
    if (PyBytes_Check(left) == PyBytes_Check(right)) {
        return PySequence_Concat(left, right);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, sizes[0] + sizes[1]);
    if (bytes != NULL) {
        memcpy(PyBytes_AS_STRING(bytes), texts[0], sizes[0]);
        memcpy(PyBytes_AS_STRING(bytes) + sizes[0], texts[1], sizes[1]);
    }
    return bytes;
}

static inline PyObject *
tw_string_join_all(PyObject *separator, PyObject *items)
{
    PyObject *list = PySequence_Fast(items, "can only join a sequence");
    int all = list != NULL && PyUnicode_Check(separator);
    for (Py_ssize_t i = 0; all && i < PySequence_Fast_GET_SIZE(list); i++) {
        all = PyUnicode_Check(PySequence_Fast_GET_ITEM(list, i));
    }
    if (all) {
        PyObject *joined = PyUnicode_Join(separator, list);
        Py_DECREF(list);
        return joined;
    }
    PyObject *result = list == NULL ? NULL : PyUnicode_FromString("");
    for (Py_ssize_t i = 0; result != NULL && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *more[] = {i > 0 ? separator : NULL, PySequence_Fast_GET_ITEM(list, i)};
        for (int k = 0; k < 2 && result != NULL; k++) {
            PyObject *joined = more[k] == NULL ? Py_NewRef(result) : tw_string_join(result, more[k]);
            Py_DECREF(result);
            result = joined;
        }
    }
    Py_XDECREF(list);
    return result;
}

/* A buffer that is cut to what was written is complete: it becomes a str where it is text. */
static inline int
tw_string_resize(PyObject **string, Py_ssize_t size)
{
    if (PyBytes_Check(*string) && size > PyBytes_GET_SIZE(*string)) {
        return _PyBytes_Resize(string, size);
    }
    char *text;
    Py_ssize_t before;
    PyObject *complete = NULL;
    if (tw_string_parts(*string, &text, &before) == 0 && size <= before) {
        complete = tw_string_new(text, size);
    }
    else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_SystemError, "_PyString_Resize of a complete string");
    }
    Py_DECREF(*string);
    *string = complete;
    return complete == NULL ? -1 : 0;
}

static inline void
tw_string_concat(PyObject **string, PyObject *more, int and_delete)
{
    if (*string != NULL) {
        PyObject *joined = more == NULL ? NULL : tw_string_join(*string, more);
        Py_DECREF(*string);
        *string = joined;
    }
    if (and_delete) {
        Py_XDECREF(more);
    }
}

#define PyString_FromString(text) tw_string_new((text), (Py_ssize_t)strlen(text))
#define PyString_FromStringAndSize tw_string_new
#define PyString_FromFormat PyUnicode_FromFormat
#define PyString_FromFormatV PyUnicode_FromFormatV
#define PyString_AsString(object) tw_string_text((PyObject *)(object))
#define PyString_AS_STRING(object) tw_string_text((PyObject *)(object))
#define PyString_Size(object) tw_string_size((PyObject *)(object))
#define PyString_GET_SIZE(object) tw_string_size((PyObject *)(object))
#define PyString_AsStringAndSize(object, text, size)                                               \
    tw_string_and_size((PyObject *)(object), (char **)(text), (void *)(size),                      \
                       _Generic((size), int *: 1, default: 0))
#define PyString_Concat(string, more) tw_string_concat((string), (PyObject *)(more), 0)
#define PyString_ConcatAndDel(string, more) tw_string_concat((string), (PyObject *)(more), 1)
#define _PyString_Resize(string, size) tw_string_resize((string), (size))
#define _PyString_Join(separator, items)                                                           \
    tw_string_join_all((PyObject *)(separator), (PyObject *)(items))
#define PyString_Format PyUnicode_Format
#define PyString_InternFromString PyUnicode_InternFromString
#define PyString_InternInPlace PyUnicode_InternInPlace
#define PyString_DecodeEscape tw_string_unescape
#define PyString_Repr(object, smart) PyObject_Repr((PyObject *)(object))
/* ---- unicode ---- */

#if PY_VERSION_HEX >= 0x030C0000

/* From Python 3.12 on a str holds no Py_UNICODE. Here: id -> (the str, its text as bytes), for as long as anyone
 * else has the str, which is how long the text lived inside of it. */
static PyObject *tw_unicodes;
static Py_ssize_t tw_most_unicodes = 64; /* then those nobody has are dropped */

static inline int
tw_unicodes_sweep(void)
{
    PyObject *kept = PyDict_New(), *key, *pair;
    Py_ssize_t place = 0;
    while (kept != NULL && PyDict_Next(tw_unicodes, &place, &key, &pair)) {
        if (Py_REFCNT(PyTuple_GET_ITEM(pair, 0)) > 1 && PyDict_SetItem(kept, key, pair) < 0) {
            Py_CLEAR(kept);
        }
    }
    if (kept == NULL) {
        return -1;
    }
    if (PyDict_GET_SIZE(kept) > tw_most_unicodes / 2) {
        tw_most_unicodes = 2 * PyDict_GET_SIZE(kept);
    }
    Py_SETREF(tw_unicodes, kept);
    return 0;
}

/* The text of a str as a new bytes object, with a NUL behind. */
static inline PyObject *
tw_unicode_bytes(PyObject *object)
{
    Py_ssize_t room = PyUnicode_GET_LENGTH(object) + 1;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, room * (Py_ssize_t)sizeof(Py_UNICODE));
    if (bytes != NULL &&
        PyUnicode_AsWideChar(object, (Py_UNICODE *)PyBytes_AS_STRING(bytes), room) < 0) {
        Py_CLEAR(bytes);
    }
    return bytes;
}

static inline Py_UNICODE *
tw_unicode_keep(PyObject *object, PyObject *key)
{
    PyObject *bytes = tw_unicode_bytes(object);
    PyObject *pair = bytes == NULL ? NULL : PyTuple_Pack(2, object, bytes);
    int result = pair == NULL ? -1 : 0;
    if (result == 0 && PyDict_GET_SIZE(tw_unicodes) >= tw_most_unicodes) {
        result = tw_unicodes_sweep();
    }
    if (result == 0) {
        result = PyDict_SetItem(tw_unicodes, key, pair);
    }
    Py_XDECREF(pair);
    Py_XDECREF(bytes);
    return result < 0 ? NULL : (Py_UNICODE *)PyBytes_AS_STRING(bytes);
}

/* A str of wide characters has the text itself. */
static inline Py_UNICODE *
tw_unicode_text(PyObject *object)
{
    if (!PyUnicode_Check(object)) {
        PyErr_BadArgument();
        return NULL;
    }
    if (PyUnicode_KIND(object) == PyUnicode_4BYTE_KIND) {
        return (Py_UNICODE *)PyUnicode_4BYTE_DATA(object);
    }
    if (tw_unicodes == NULL && (tw_unicodes = PyDict_New()) == NULL) {
        return NULL;
    }
    PyObject *key = PyLong_FromVoidPtr(object);
    PyObject *pair = key == NULL ? NULL : PyDict_GetItemWithError(tw_unicodes, key);
    Py_UNICODE *text = NULL;
    if (pair != NULL) {
        text = (Py_UNICODE *)PyBytes_AS_STRING(PyTuple_GET_ITEM(pair, 1));
    }
    else if (key != NULL && !PyErr_Occurred()) {
        text = tw_unicode_keep(object, key);
    }
    Py_XDECREF(key);
    return text;
}

static inline PyObject *
tw_unicode_new(const Py_UNICODE *text, Py_ssize_t size)
{
    if (text == NULL && size > 0) {
        PyErr_SetString(PyExc_SystemError, "PyUnicode_FromUnicode(NULL, size): since Python 3.12 "
                                           "a str cannot be made before its text");
        return NULL;
    }
    return PyUnicode_FromWideChar(size == 0 ? L"" : text, size);
}

#define PyUnicode_AS_UNICODE(object) tw_unicode_text((PyObject *)(object))
#define PyUnicode_AsUnicode(object) tw_unicode_text((PyObject *)(object))
#define PyUnicode_AS_DATA(object) ((const char *)PyUnicode_AS_UNICODE(object))
#define PyUnicode_GET_SIZE(object) PyUnicode_GET_LENGTH(object)
#define PyUnicode_GetSize(object) PyUnicode_GetLength(object)
#define PyUnicode_GET_DATA_SIZE(object)                                                            \
    (PyUnicode_GET_LENGTH(object) * (Py_ssize_t)sizeof(Py_UNICODE))
#define PyUnicode_FromUnicode tw_unicode_new
#endif

static inline PyObject *
tw_unicode_encode(const Py_UNICODE *text, Py_ssize_t size, const char *encoding, const char *errors)
{
    PyObject *object = PyUnicode_FromWideChar(text, size);
    PyObject *bytes = object == NULL ? NULL : PyUnicode_AsEncodedString(object, encoding, errors);
    Py_XDECREF(object);
    return bytes;
}

#define PyUnicode_Encode tw_unicode_encode
#define PyUnicode_EncodeUTF8(text, size, errors) tw_unicode_encode((text), (size), "utf-8", (errors))
#define PyUnicode_EncodeLatin1(text, size, errors)                                                 \
    tw_unicode_encode((text), (size), "latin-1", (errors))
#define PyUnicode_EncodeASCII(text, size, errors)                                                  \
    tw_unicode_encode((text), (size), "ascii", (errors))

/* ---- arguments ---- */

#define TW_MOST_PLACES 64 /* pointers one format may take */

/* What a format's letters mean here: the format that Python gets, and pointers to places of ours. */
struct tw_places {
    char format[512];
    void *given[TW_MOST_PLACES];  /* by the caller */
    void *passed[TW_MOST_PLACES]; /* to Python */
    char kinds[TW_MOST_PLACES];   /* 'n': a size, 'c': a character, 'u': a str, for its text; else 0 */
    Py_ssize_t sizes[TW_MOST_PLACES];
    void *lengths[TW_MOST_PLACES]; /* the place of the size, of "u#" */
    int count;
};

static inline int
tw_string_converter(PyObject *object, void *place)
{
    if (!PyUnicode_Check(object) && !PyBytes_Check(object)) {
        PyErr_Format(PyExc_TypeError, "expected str or bytes, not %.100s", object->ob_type->tp_name);
        return 0;
    }
    *(PyObject **)place = object;
    return 1;
}

static inline void
tw_places_add(struct tw_places *places, void *given, void *passed, char kind)
{
    places->given[places->count] = given;
    places->passed[places->count] = passed;
    places->kinds[places->count++] = kind;
}

/* Translates format and pointers. Returns 0 when one of them is too long. */
static inline int
tw_places_read(struct tw_places *places, const char *format, va_list list)
{
    char *out = places->format;
    places->count = 0;
    for (; *format != '\0'; format++) {
        if (places->count + 3 > TW_MOST_PLACES ||
            out + 4 > places->format + sizeof(places->format)) {
            PyErr_SetString(PyExc_SystemError, "the format of PyArg_Parse is too long");
            return 0;
        }
        if (*format == ':' || *format == ';') {
            strncpy(out, format, places->format + sizeof(places->format) - out - 1);
            places->format[sizeof(places->format) - 1] = '\0';
            return 1;
        }
        if (strchr("()|$ \t,", *format) != NULL) {
            *out++ = *format;
            continue;
        }
        void *place = va_arg(list, void *);
        if (*format == 'O' && format[1] == '!' && place == (void *)&PyString_Type) {
            *out++ = 'O', *out++ = '&', format++;
            tw_places_add(places, NULL, (void *)tw_string_converter, 0);
            place = va_arg(list, void *);
            tw_places_add(places, place, place, 0);
            continue;
        }
        if (*format == 'S') {
            *out++ = 'O', *out++ = '&';
            tw_places_add(places, NULL, (void *)tw_string_converter, 0);
            tw_places_add(places, place, place, 0);
            continue;
        }
        if (*format == 'c') {
            *out++ = 'C';
            tw_places_add(places, place, &places->sizes[places->count], 'c');
            continue;
        }
#if PY_VERSION_HEX >= 0x030C0000
        if (*format == 'u') {
            int sized = format[1] == '#';
            *out++ = 'U';
            format += sized;
            places->lengths[places->count] = sized ? va_arg(list, void *) : NULL;
            tw_places_add(places, place, &places->sizes[places->count], 'u');
            continue;
        }
#endif
        *out++ = *format == 't' ? 's' : *format;
        tw_places_add(places, place, place, 0);
        if (*format == 'e' && (format[1] == 's' || format[1] == 't')) {
            *out++ = *++format;
            place = va_arg(list, void *);
            tw_places_add(places, place, place, 0);
        }
        while (format[1] == '#' || format[1] == '*' || format[1] == '!' || format[1] == '&') {
            *out++ = *++format;
            if (*format == '*') {
                continue;
            }
            place = va_arg(list, void *);
#ifdef TW_INT_SIZES
            if (*format == '#') {
                tw_places_add(places, place, &places->sizes[places->count], 'n');
                continue;
            }
#endif
            tw_places_add(places, place, place, 0);
        }
    }
    *out = '\0';
    return 1;
}

#if PY_VERSION_HEX >= 0x030C0000
/* "u" and "u#", which Python has no more. */
static inline int
tw_store_text(PyObject *object, Py_UNICODE **text, void *length)
{
    Py_ssize_t size = PyUnicode_GET_LENGTH(object);
    *text = tw_unicode_text(object);
    if (*text == NULL) {
        return 0;
    }
    if (length == NULL && wcslen(*text) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return 0;
    }
#ifdef TW_INT_SIZES
    if (length != NULL && size > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "size does not fit in an int");
        return 0;
    }
    if (length != NULL) {
        *(int *)length = (int)size;
    }
#else
    if (length != NULL) {
        *(Py_ssize_t *)length = size;
    }
#endif
    return 1;
}
#endif

/* Hands the values of our places over. Returns 0 for a size beyond an int. */
static inline int
tw_places_store(struct tw_places *places)
{
    for (int i = 0; i < places->count; i++) {
        if (places->kinds[i] == 'n') {
            if (places->sizes[i] > INT_MAX) {
                PyErr_SetString(PyExc_OverflowError, "size does not fit in an int");
                return 0;
            }
            *(int *)places->given[i] = (int)places->sizes[i];
        }
#if PY_VERSION_HEX >= 0x030C0000
        else if (places->kinds[i] == 'u' && places->sizes[i] != 0) {
            if (!tw_store_text((PyObject *)places->sizes[i], places->given[i], places->lengths[i])) {
                return 0;
            }
        }
#endif
        else if (places->kinds[i] == 'c') {
            *(char *)places->given[i] = (char)*(int *)&places->sizes[i];
        }
    }
    return 1;
}

/* "es#" reads the size that a caller gives; optional arguments keep what they had. */
static inline void
tw_places_load(struct tw_places *places)
{
    for (int i = 0; i < places->count; i++) {
        if (places->kinds[i] == 'n') {
            places->sizes[i] = *(int *)places->given[i];
        }
        else if (places->kinds[i] == 'u') {
            places->sizes[i] = 0;
        }
        else if (places->kinds[i] == 'c') {
            *(int *)&places->sizes[i] = *(unsigned char *)places->given[i];
        }
    }
}

#define TW_8(p, i) p[i], p[i + 1], p[i + 2], p[i + 3], p[i + 4], p[i + 5], p[i + 6], p[i + 7]
#define TW_64(p)                                                                                   \
    TW_8(p, 0), TW_8(p, 8), TW_8(p, 16), TW_8(p, 24), TW_8(p, 32), TW_8(p, 40), TW_8(p, 48),       \
        TW_8(p, 56)

static inline int
tw_parse_tuple(PyObject *arguments, const char *format, ...)
{
    struct tw_places places;
    va_list list;
    va_start(list, format);
    int result = tw_places_read(&places, format, list);
    va_end(list);
    if (result) {
        tw_places_load(&places);
        result = PyArg_ParseTuple(arguments, places.format, TW_64(places.passed)) &&
                 tw_places_store(&places);
    }
    return result;
}

static inline int
tw_parse_keywords(PyObject *arguments, PyObject *keywords, const char *format, char **names, ...)
{
    struct tw_places places;
    va_list list;
    va_start(list, names);
    int result = tw_places_read(&places, format, list);
    va_end(list);
    if (result) {
        tw_places_load(&places);
        result = PyArg_ParseTupleAndKeywords(arguments, keywords, places.format, names,
                                             TW_64(places.passed)) &&
                 tw_places_store(&places);
    }
    return result;
}

/* What METH_OLDARGS functions call: no argument is NULL, one is itself, several are a tuple. */
static inline int
tw_parse(PyObject *argument, const char *format, ...)
{
    struct tw_places places;
    va_list list;
    va_start(list, format);
    int result = tw_places_read(&places, format, list);
    va_end(list);
    if (result && argument == NULL) {
        PyObject *nothing = PyTuple_New(0);
        result = nothing != NULL && PyArg_ParseTuple(nothing, places.format, TW_64(places.passed));
        Py_XDECREF(nothing);
        return result;
    }
    if (result) {
        tw_places_load(&places);
        result = PyArg_Parse(argument, places.format, TW_64(places.passed)) &&
                 tw_places_store(&places);
    }
    return result;
}

static inline int
tw_no_arguments(PyObject *argument)
{
    if (argument == NULL || (PyTuple_Check(argument) && PyTuple_GET_SIZE(argument) == 0)) {
        return 1;
    }
    PyErr_SetString(PyExc_TypeError, "function takes no arguments");
    return 0;
}

#undef PyArg_ParseTuple
#define PyArg_ParseTuple(arguments, ...) tw_parse_tuple((PyObject *)(arguments), __VA_ARGS__)
#undef PyArg_ParseTupleAndKeywords
#define PyArg_ParseTupleAndKeywords(arguments, keywords, ...)                                      \
    tw_parse_keywords((PyObject *)(arguments), (PyObject *)(keywords), __VA_ARGS__)
#undef PyArg_Parse
#define PyArg_Parse(argument, ...) tw_parse((PyObject *)(argument), __VA_ARGS__)
#define PyArg_NoArgs(argument) tw_no_arguments((PyObject *)(argument))
#define PyArg_GetInt(argument, place) tw_parse((PyObject *)(argument), "i", (place))

/* Makes the sizes of "s#" that are C ints as wide as Python reads them, and a char of "c" a number from 0. */
static inline void
tw_widen_sizes(const char *format, va_list list)
{
    for (; *format != '\0'; format++) {
        if (*format == '#') {
#ifdef TW_INT_SIZES
            Py_ssize_t *place = &va_arg(list, Py_ssize_t);
            *place = *(int *)place;
#else
            va_arg(list, Py_ssize_t);
#endif
        }
        else if (*format == 'd' || *format == 'f') {
            va_arg(list, double);
        }
        else if (*format == 'c') {
            int *place = &va_arg(list, int);
            *place = (unsigned char)*place;
        }
        else if (strchr("()[]{}:, \t", *format) == NULL) { /* "O&" has two */
            va_arg(list, void *);
        }
    }
}

/* "c" is a str of length 1: Python 3's "C". Returns malloc'ed text. */
static inline char *
tw_build_format(const char *format)
{
    char *copy = format == NULL ? NULL : PyMem_Malloc(strlen(format) + 1);
    if (copy != NULL) {
        strcpy(copy, format);
        for (char *letter = copy; *letter != '\0'; letter++) {
            *letter = *letter == 'c' ? 'C' : *letter;
        }
    }
    return copy;
}

static inline PyObject *
tw_build(const char *format, va_list list)
{
    char *copy = tw_build_format(format);
    PyObject *result = copy == NULL ? PyErr_NoMemory() : Py_VaBuildValue(copy, list);
    PyMem_Free(copy);
    return result;
}

#define TW_BUILD(result, format)                                                                   \
    do {                                                                                           \
        va_list tw_list;                                                                           \
        va_start(tw_list, format);                                                                 \
        tw_widen_sizes(format == NULL ? "" : format, tw_list);                                     \
        va_end(tw_list);                                                                           \
        va_start(tw_list, format);                                                                 \
        result = tw_build(format, tw_list);                                                        \
        va_end(tw_list);                                                                           \
    } while (0)

static inline PyObject *
tw_build_value(const char *format, ...)
{
    PyObject *result;
    TW_BUILD(result, format);
    return result;
}

/* Calls with a tuple, or with the one value that a format made. Takes the reference. */
static inline PyObject *
tw_call_with(PyObject *callable, PyObject *value)
{
    if (callable == NULL || value == NULL) {
        Py_XDECREF(value);
        return NULL;
    }
    PyObject *arguments = PyTuple_Check(value) ? Py_NewRef(value) : PyTuple_Pack(1, value);
    PyObject *result = arguments == NULL ? NULL : PyObject_CallObject(callable, arguments);
    Py_XDECREF(arguments);
    Py_DECREF(value);
    return result;
}

static inline PyObject *
tw_call_function(PyObject *callable, const char *format, ...)
{
    PyObject *value;
    if (format == NULL || *format == '\0') {
        return PyObject_CallObject(callable, NULL);
    }
    TW_BUILD(value, format);
    return tw_call_with(callable, value);
}

static inline PyObject *
tw_call_method(PyObject *object, const char *name, const char *format, ...)
{
    PyObject *value;
    PyObject *method = PyObject_GetAttrString(object, name);
    if (method == NULL) {
        return NULL;
    }
    if (format == NULL || *format == '\0') {
        value = PyTuple_New(0);
    }
    else {
        TW_BUILD(value, format);
    }
    PyObject *result = tw_call_with(method, value);
    Py_DECREF(method);
    return result;
}

#undef Py_BuildValue
#define Py_BuildValue tw_build_value
#undef PyObject_CallFunction
#define PyObject_CallFunction(...) tw_call_function(__VA_ARGS__)
#undef PyObject_CallMethod
#define PyObject_CallMethod(object, name, ...)                                                     \
    tw_call_method((PyObject *)(object), (name), __VA_ARGS__)
#define PyEval_CallFunction(...) tw_call_function(__VA_ARGS__)
#define PyEval_CallMethod PyObject_CallMethod

/* ---- numbers ---- */

static inline PyObject *
tw_divide(PyObject *left, PyObject *right)
{
    return PyLong_Check(left) && PyLong_Check(right) ? PyNumber_FloorDivide(left, right)
                                                     : PyNumber_TrueDivide(left, right);
}

/* -1, 0 or 1; -1 with an exception. */
static inline int
tw_compare(PyObject *left, PyObject *right)
{
    int equal = PyObject_RichCompareBool(left, right, Py_EQ);
    if (equal != 0) {
        return equal < 0 ? -1 : 0;
    }
    int less = PyObject_RichCompareBool(left, right, Py_LT);
    return less < 0 ? -1 : less ? -1 : 1;
}

static inline int
tw_cmp(PyObject *left, PyObject *right, int *result)
{
    *result = tw_compare(left, right);
    return *result == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Both of one type, or int and float: as Python 2 had it for its own numbers. */
static inline int
tw_coerce(PyObject **left, PyObject **right)
{
    if (Py_TYPE(*left) == Py_TYPE(*right)) {
        Py_INCREF(*left);
        Py_INCREF(*right);
        return 0;
    }
    if (PyFloat_Check(*left) && PyLong_Check(*right)) {
        PyObject *number = PyNumber_Float(*right);
        Py_INCREF(*left);
        *right = number;
        return number == NULL ? (Py_DECREF(*left), -1) : 0;
    }
    if (PyLong_Check(*left) && PyFloat_Check(*right)) {
        PyObject *number = PyNumber_Float(*left);
        Py_INCREF(*right);
        *left = number;
        return number == NULL ? (Py_DECREF(*right), -1) : 0;
    }
    PyErr_SetString(PyExc_TypeError, "number coercion failed");
    return -1;
}

#define PyOS_ascii_strtod(text, end) PyOS_string_to_double((text), (end), NULL)
#define PyOS_ascii_atof(text) PyOS_string_to_double((text), NULL, NULL)
#define PyFloat_FromString(object, ...) PyFloat_FromString((PyObject *)(object))
#define PyNumber_Divide(left, right) tw_divide((PyObject *)(left), (PyObject *)(right))
#define PyNumber_InPlaceDivide PyNumber_Divide
#define PyNumber_Int(object) PyNumber_Long((PyObject *)(object))
#define PyNumber_Coerce(left, right) tw_coerce((left), (right))
#define PyNumber_CoerceEx(left, right) tw_coerce((left), (right))
#define PyObject_Compare(left, right) tw_compare((PyObject *)(left), (PyObject *)(right))
#define PyObject_Cmp(left, right, result) tw_cmp((PyObject *)(left), (PyObject *)(right), (result))
#define PyObject_Unicode(object) PyObject_Str((PyObject *)(object))

/* ---- calls ---- */

#undef PyEval_CallObject
#define PyEval_CallObject(callable, arguments)                                                     \
    PyObject_CallObject((PyObject *)(callable), (PyObject *)(arguments))
#undef PyEval_CallObjectWithKeywords
#define PyEval_CallObjectWithKeywords(callable, arguments, keywords)                               \
    tw_call_keywords((PyObject *)(callable), (PyObject *)(arguments), (PyObject *)(keywords))
#undef PyEval_InitThreads
#define PyEval_InitThreads() ((void)0)

static inline PyObject *
tw_call_keywords(PyObject *callable, PyObject *arguments, PyObject *keywords)
{
    PyObject *tuple = arguments == NULL ? PyTuple_New(0) : Py_NewRef(arguments);
    PyObject *result = tuple == NULL ? NULL : PyObject_Call(callable, tuple, keywords);
    Py_XDECREF(tuple);
    return result;
}

#define METH_OLDARGS 0

/* A function of the METH_OLDARGS kind, and its self. */
struct tw_old_function {
    PyMethodDef *method;
    PyObject *self;
    PyMethodDef definition;
};

static inline PyObject *
tw_old_call(PyObject *capsule, PyObject *arguments)
{
    struct tw_old_function *function = PyCapsule_GetPointer(capsule, NULL);
    Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    PyObject *argument = count == 0   ? NULL
                         : count == 1 ? PyTuple_GET_ITEM(arguments, 0)
                                      : arguments;
    return function->method->ml_meth(function->self, argument);
}

static inline void
tw_old_free(PyObject *capsule)
{
    struct tw_old_function *function = PyCapsule_GetPointer(capsule, NULL);
    Py_XDECREF(function->self);
    PyMem_Free(function);
}

static inline PyObject *
tw_method_new(PyMethodDef *method, PyObject *self, PyObject *module)
{
    if (method->ml_flags != METH_OLDARGS) {
        return PyCFunction_NewEx(method, self, module);
    }
    struct tw_old_function *function = PyMem_Calloc(1, sizeof(*function));
    if (function == NULL) {
        return PyErr_NoMemory();
    }
    function->method = method;
    function->definition.ml_name = method->ml_name;
    function->definition.ml_meth = tw_old_call;
    function->definition.ml_flags = METH_VARARGS;
    function->definition.ml_doc = method->ml_doc;
    PyObject *capsule = PyCapsule_New(function, NULL, tw_old_free);
    if (capsule == NULL) {
        PyMem_Free(function);
        return NULL;
    }
    Py_XINCREF(self);
    function->self = self;
    PyObject *result = PyCFunction_NewEx(&function->definition, capsule, module);
    Py_DECREF(capsule);
    return result;
}

typedef struct PyMethodChain {
    PyMethodDef *methods;
    struct PyMethodChain *link;
} PyMethodChain;

static inline PyObject *
Py_FindMethodInChain(PyMethodChain *chain, PyObject *self, const char *name)
{
    if (strcmp(name, "__doc__") == 0 && self->ob_type->tp_doc != NULL) {
        return PyUnicode_FromString(self->ob_type->tp_doc);
    }
    for (; chain != NULL; chain = chain->link) {
        for (PyMethodDef *method = chain->methods; method->ml_name != NULL; method++) {
            if (strcmp(name, method->ml_name) == 0) {
                return tw_method_new(method, self, NULL);
            }
        }
    }
    /* __class__, __eq__ ... are the type's */
    PyObject *text = PyUnicode_FromString(name);
    PyObject *result = text == NULL ? NULL : PyObject_GenericGetAttr(self, text);
    Py_XDECREF(text);
    return result;
}

static inline PyObject *
Py_FindMethod(PyMethodDef *methods, PyObject *self, const char *name)
{
    PyMethodChain chain = {methods, NULL};
    return Py_FindMethodInChain(&chain, self, name);
}
#define Py_FindMethod(methods, self, name) Py_FindMethod((methods), (PyObject *)(self), (name))

/* A pointer in a capsule; its context has what a PyCObject's destructor takes. */
struct tw_pointer {
    void *description;
    void (*destroy)(void *);
    void (*destroy_both)(void *, void *);
};

static inline void
tw_pointer_free(PyObject *capsule)
{
    struct tw_pointer *pointer = PyCapsule_GetContext(capsule);
    void *value = PyCapsule_GetPointer(capsule, NULL);
    if (pointer->destroy != NULL) {
        pointer->destroy(value);
    }
    if (pointer->destroy_both != NULL) {
        pointer->destroy_both(value, pointer->description);
    }
    PyMem_Free(pointer);
}

static inline PyObject *
tw_pointer_new(void *value, void *description, void (*destroy)(void *),
               void (*destroy_both)(void *, void *))
{
    struct tw_pointer *pointer = PyMem_Calloc(1, sizeof(*pointer));
    PyObject *capsule = pointer == NULL ? PyErr_NoMemory() : PyCapsule_New(value, NULL, NULL);
    if (capsule == NULL) {
        PyMem_Free(pointer);
        return NULL;
    }
    pointer->description = description;
    pointer->destroy = destroy;
    pointer->destroy_both = destroy_both;
    PyCapsule_SetContext(capsule, pointer);
    PyCapsule_SetDestructor(capsule, tw_pointer_free);
    return capsule;
}

static inline void *
tw_pointer_value(PyObject *capsule)
{
    if (capsule != NULL && PyCapsule_CheckExact(capsule)) {
        return PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule));
    }
    if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "PyCObject_AsVoidPtr with non-C-object");
    }
    return NULL;
}

static inline void *
tw_pointer_description(PyObject *capsule)
{
    struct tw_pointer *pointer = PyCapsule_GetContext(capsule);
    return pointer == NULL ? NULL : pointer->description;
}

static inline void *
tw_pointer_import(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *capsule = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    void *value = capsule == NULL ? NULL : tw_pointer_value(capsule);
    Py_XDECREF(module);
    Py_XDECREF(capsule);
    return value;
}

#define PyCObject_Type PyCapsule_Type
#define PyCObject_Check(object) PyCapsule_CheckExact(object)
#define PyCObject_FromVoidPtr(value, destroy) tw_pointer_new((void *)(value), NULL, (destroy), NULL)
#define PyCObject_FromVoidPtrAndDesc(value, description, destroy)                                  \
    tw_pointer_new((void *)(value), (description), NULL, (destroy))
#define PyCObject_AsVoidPtr(object) tw_pointer_value((PyObject *)(object))
#define PyCObject_GetDesc(object) tw_pointer_description((PyObject *)(object))
#define PyCObject_Import(module, name) tw_pointer_import((module), (name))

/* A file of Python 3 has no FILE: it is no file to the source. */
#define PyFileObject PyObject
#define PyFile_Check(object) 0
#define PyFile_CheckExact(object) 0
#define PyFile_AsFile(object) ((FILE *)NULL)
#define PyFile_SoftSpace(object, flag) 0

#define PyBuffer_FromMemory(data, size) PyMemoryView_FromMemory((char *)(data), (size), PyBUF_READ)
#define PyBuffer_FromReadWriteMemory(data, size)                                                   \
    PyMemoryView_FromMemory((char *)(data), (size), PyBUF_WRITE)
#define PyExc_StandardError PyExc_Exception
#define PyInstance_Check(object) 0
#define PyClass_Check(object) 0
#define PyInstance_New(type, arguments, keywords)                                                  \
    tw_call_keywords((PyObject *)(type), (arguments), (keywords))
#define PyMem_XDEL(pointer) PyMem_Free(pointer)
#ifndef PyMem_DEL
#define PyMem_DEL PyMem_Free
#endif
#ifndef PyMem_NEW
#define PyMem_NEW(type, count) PyMem_New(type, count)
#endif

/* ---- types ---- */

/* Flags that had a meaning once. */
#define Py_TPFLAGS_HAVE_GETCHARBUFFER 0
#define Py_TPFLAGS_HAVE_SEQUENCE_IN 0
#define Py_TPFLAGS_HAVE_INPLACEOPS 0
#define Py_TPFLAGS_HAVE_RICHCOMPARE 0
#define Py_TPFLAGS_HAVE_WEAKREFS 0
#define Py_TPFLAGS_HAVE_ITER 0
#define Py_TPFLAGS_HAVE_CLASS 0
#define Py_TPFLAGS_HAVE_INDEX 0
#define Py_TPFLAGS_HAVE_NEWBUFFER 0
#define Py_TPFLAGS_GC Py_TPFLAGS_HAVE_GC

/* A source that has a PyInit_ function has its slots where Python 3 has them. */
#ifndef TINYWEAVE_SLOTS_OF_TODAY

#define Py_TPFLAGS_CHECKTYPES (1UL << 40) /* no flag of Python 3: taken out again */

typedef struct {
    binaryfunc nb_add;
    binaryfunc nb_subtract;
    binaryfunc nb_multiply;
    binaryfunc nb_divide;
    binaryfunc nb_remainder;
    binaryfunc nb_divmod;
    ternaryfunc nb_power;
    unaryfunc nb_negative;
    unaryfunc nb_positive;
    unaryfunc nb_absolute;
    inquiry nb_nonzero;
    unaryfunc nb_invert;
    binaryfunc nb_lshift;
    binaryfunc nb_rshift;
    binaryfunc nb_and;
    binaryfunc nb_xor;
    binaryfunc nb_or;
    tw_coerce_function nb_coerce;
    unaryfunc nb_int;
    unaryfunc nb_long;
    unaryfunc nb_float;
    unaryfunc nb_oct;
    unaryfunc nb_hex;
    binaryfunc nb_inplace_add;
    binaryfunc nb_inplace_subtract;
    binaryfunc nb_inplace_multiply;
    binaryfunc nb_inplace_divide;
    binaryfunc nb_inplace_remainder;
    ternaryfunc nb_inplace_power;
    binaryfunc nb_inplace_lshift;
    binaryfunc nb_inplace_rshift;
    binaryfunc nb_inplace_and;
    binaryfunc nb_inplace_xor;
    binaryfunc nb_inplace_or;
    binaryfunc nb_floor_divide;
    binaryfunc nb_true_divide;
    binaryfunc nb_inplace_floor_divide;
    binaryfunc nb_inplace_true_divide;
    unaryfunc nb_index;
} tw_number_methods;

typedef struct {
    tw_buffer_function bf_getreadbuffer;
    tw_buffer_function bf_getwritebuffer;
    tw_segments_function bf_getsegcount;
    tw_buffer_function bf_getcharbuffer;
    getbufferproc bf_getbuffer;
    releasebufferproc bf_releasebuffer;
} tw_buffer_procs;

/* What a type of the Python 2 age said, kept for the functions that stand in its slots now. */
struct tw_old_type {
    PyTypeObject *type;
    tw_compare_function compare;
    tw_number_methods *number;
    PySequenceMethods *sequence;
    PyMappingMethods *mapping;
    tw_buffer_procs *buffer;
    PyNumberMethods new_number;
    PyMappingMethods new_mapping;
    PyBufferProcs new_buffer;
    struct tw_old_type *next;
};

static struct tw_old_type *tw_old_types;

/* What the object's type, or the nearest of its bases, said; NULL where none did. */
static inline struct tw_old_type *
tw_old_type_of(PyObject *object)
{
    for (PyTypeObject *type = object->ob_type; type != NULL; type = type->tp_base) {
        for (struct tw_old_type *old = tw_old_types; old != NULL; old = old->next) {
            if (old->type == type) {
                return old;
            }
        }
    }
    return NULL;
}

static inline PyObject *
tw_richcompare(PyObject *left, PyObject *right, int operation)
{
    struct tw_old_type *old = tw_old_type_of(left);
    if (old == NULL || old->compare == NULL || tw_old_type_of(right) != old) {
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    int order = old->compare(left, right);
    if (PyErr_Occurred()) {
        return NULL;
    }
    int truth = operation == Py_LT   ? order < 0
                : operation == Py_LE ? order <= 0
                : operation == Py_EQ ? order == 0
                : operation == Py_NE ? order != 0
                : operation == Py_GT ? order > 0
                                   : order >= 0;
    return PyBool_FromLong(truth);
}

/* Operands of one type as they are, else what nb_coerce makes of them. Returns the type's own words with new
 * references to both; NULL for NotImplemented, or with an exception. */
static inline struct tw_old_type *
tw_coerced(PyObject **left, PyObject **right)
{
    struct tw_old_type *old = tw_old_type_of(*left), *other = tw_old_type_of(*right);
    if (old != NULL && old == other) {
        Py_INCREF(*left);
        Py_INCREF(*right);
        return old;
    }
    if (old != NULL && old->number != NULL && old->number->nb_coerce != NULL) {
        return old->number->nb_coerce(left, right) == 0 ? old : NULL;
    }
    if (other != NULL && other->number != NULL && other->number->nb_coerce != NULL) {
        return other->number->nb_coerce(right, left) == 0 ? other : NULL;
    }
    return NULL;
}

static inline PyObject *
tw_coerced_result(struct tw_old_type *old, PyObject *left, PyObject *right, binaryfunc function)
{
    if (old == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    PyObject *result = function(left, right);
    Py_DECREF(left);
    Py_DECREF(right);
    return result;
}

#define TW_BINARY_SLOTS(SLOT)                                                                      \
    SLOT(nb_add)                                                                                   \
    SLOT(nb_subtract)                                                                              \
    SLOT(nb_multiply)                                                                              \
    SLOT(nb_divide)                                                                                \
    SLOT(nb_remainder)                                                                             \
    SLOT(nb_divmod)                                                                                \
    SLOT(nb_lshift)                                                                                \
    SLOT(nb_rshift)                                                                                \
    SLOT(nb_and)                                                                                   \
    SLOT(nb_xor)                                                                                   \
    SLOT(nb_or)                                                                                    \
    SLOT(nb_floor_divide)                                                                          \
    SLOT(nb_true_divide)

#define TW_COERCING(slot)                                                                          \
    static inline PyObject *tw_##slot(PyObject *left, PyObject *right)                             \
    {                                                                                              \
        struct tw_old_type *old = tw_coerced(&left, &right);                                       \
        return tw_coerced_result(old, left, right, old == NULL ? NULL : old->number->slot);        \
    }
TW_BINARY_SLOTS(TW_COERCING)

static inline PyObject *
tw_nb_power(PyObject *left, PyObject *right, PyObject *modulus)
{
    struct tw_old_type *old = tw_coerced(&left, &right);
    if (old == NULL) {
        return tw_coerced_result(NULL, left, right, NULL);
    }
    PyObject *result = old->number->nb_power(left, right, modulus);
    Py_DECREF(left);
    Py_DECREF(right);
    return result;
}

/* x[i:j] with a step of 1, and x[i] as the sequence has it. */
static inline PyObject *
tw_subscript(PyObject *object, PyObject *key)
{
    struct tw_old_type *old = tw_old_type_of(object);
    Py_ssize_t start, stop, step;
    if (PySlice_Check(key)) {
        if (PySlice_Unpack(key, &start, &stop, &step) < 0) {
            return NULL;
        }
        if (step == 1 && old->sequence != NULL && old->sequence->was_sq_slice != NULL) {
            PySlice_AdjustIndices(PySequence_Size(object), &start, &stop, step);
            return ((tw_slice_function)old->sequence->was_sq_slice)(object, start, stop);
        }
    }
    if (old->mapping != NULL && old->mapping->mp_subscript != NULL) {
        return old->mapping->mp_subscript(object, key);
    }
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    return index == -1 && PyErr_Occurred() ? NULL : PySequence_GetItem(object, index);
}

static inline int
tw_ass_subscript(PyObject *object, PyObject *key, PyObject *value)
{
    struct tw_old_type *old = tw_old_type_of(object);
    Py_ssize_t start, stop, step;
    if (PySlice_Check(key)) {
        if (PySlice_Unpack(key, &start, &stop, &step) < 0) {
            return -1;
        }
        if (step == 1 && old->sequence != NULL && old->sequence->was_sq_ass_slice != NULL) {
            PySlice_AdjustIndices(PySequence_Size(object), &start, &stop, step);
            return ((tw_ass_slice_function)old->sequence->was_sq_ass_slice)(object, start, stop,
                                                                            value);
        }
    }
    if (old->mapping != NULL && old->mapping->mp_ass_subscript != NULL) {
        return old->mapping->mp_ass_subscript(object, key, value);
    }
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) {
        return -1;
    }
    return value == NULL ? PySequence_DelItem(object, index)
                         : PySequence_SetItem(object, index, value);
}

static inline int
tw_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
    tw_buffer_procs *buffer = tw_old_type_of(object)->buffer;
    void *data = NULL;
    int readonly = buffer->bf_getwritebuffer == NULL;
    Py_ssize_t size = readonly ? buffer->bf_getreadbuffer(object, 0, &data)
                               : buffer->bf_getwritebuffer(object, 0, &data);
    if (size < 0 && !readonly && buffer->bf_getreadbuffer != NULL &&
        (flags & PyBUF_WRITABLE) == 0) {
        PyErr_Clear();
        readonly = 1;
        size = buffer->bf_getreadbuffer(object, 0, &data);
    }
    return size < 0 ? -1 : PyBuffer_FillInfo(view, object, data, size, readonly, flags);
}

/* The slots of a number, each in its place of today. */
static inline void
tw_ready_number(struct tw_old_type *old, int checks_types)
{
    tw_number_methods *from = old->number;
    PyNumberMethods *to = &old->new_number;
#define TW_COPY(slot) to->slot = from->slot;
#define TW_TAKE(slot, name) to->slot = from->name == NULL ? NULL : checks_types ? from->name : tw_##name;
    TW_TAKE(nb_add, nb_add)
    TW_TAKE(nb_subtract, nb_subtract)
    TW_TAKE(nb_multiply, nb_multiply)
    TW_TAKE(nb_remainder, nb_remainder)
    TW_TAKE(nb_divmod, nb_divmod)
    TW_TAKE(nb_power, nb_power)
    TW_COPY(nb_negative)
    TW_COPY(nb_positive)
    TW_COPY(nb_absolute)
    to->nb_bool = from->nb_nonzero;
    TW_COPY(nb_invert)
    TW_TAKE(nb_lshift, nb_lshift)
    TW_TAKE(nb_rshift, nb_rshift)
    TW_TAKE(nb_and, nb_and)
    TW_TAKE(nb_xor, nb_xor)
    TW_TAKE(nb_or, nb_or)
    to->nb_int = from->nb_int != NULL ? from->nb_int : from->nb_long;
    TW_COPY(nb_float)
    TW_COPY(nb_inplace_add)
    TW_COPY(nb_inplace_subtract)
    TW_COPY(nb_inplace_multiply)
    TW_COPY(nb_inplace_remainder)
    TW_COPY(nb_inplace_power)
    TW_COPY(nb_inplace_lshift)
    TW_COPY(nb_inplace_rshift)
    TW_COPY(nb_inplace_and)
    TW_COPY(nb_inplace_xor)
    TW_COPY(nb_inplace_or)
    TW_TAKE(nb_floor_divide, nb_floor_divide)
    TW_TAKE(nb_true_divide, nb_true_divide)
    if (to->nb_true_divide == NULL) {
        TW_TAKE(nb_true_divide, nb_divide)
    }
    TW_COPY(nb_inplace_floor_divide)
    TW_COPY(nb_inplace_true_divide)
    if (to->nb_inplace_true_divide == NULL) {
        to->nb_inplace_true_divide = from->nb_inplace_divide;
    }
    TW_COPY(nb_index)
#undef TW_COPY
#undef TW_TAKE
    old->type->tp_as_number = to;
}

static inline void
tw_ready_subscript(struct tw_old_type *old)
{
    PySequenceMethods *sequence = old->sequence;
    if (sequence == NULL || (sequence->was_sq_slice == NULL && sequence->was_sq_ass_slice == NULL)) {
        return;
    }
    if (old->mapping != NULL) {
        old->new_mapping = *old->mapping;
    }
    old->new_mapping.mp_subscript = tw_subscript;
    old->new_mapping.mp_ass_subscript = tw_ass_subscript;
    old->type->tp_as_mapping = &old->new_mapping;
}

static inline void
tw_ready_buffer(struct tw_old_type *old)
{
    tw_buffer_procs *buffer = old->buffer;
    old->new_buffer.bf_getbuffer = buffer->bf_getbuffer;
    old->new_buffer.bf_releasebuffer = buffer->bf_releasebuffer;
    if (buffer->bf_getbuffer == NULL &&
        (buffer->bf_getreadbuffer != NULL || buffer->bf_getwritebuffer != NULL)) {
        old->new_buffer.bf_getbuffer = tw_getbuffer;
    }
    old->type->tp_as_buffer = &old->new_buffer;
}

/* PyType_Ready of a static type whose slots lie as in Python 2. */
static inline int
tw_type_ready(PyTypeObject *type)
{
    if (type->tp_flags & (Py_TPFLAGS_READY | Py_TPFLAGS_HEAPTYPE)) {
        return PyType_Ready(type);
    }
    struct tw_old_type *old = PyMem_Calloc(1, sizeof(*old));
    if (old == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int checks_types = (type->tp_flags & Py_TPFLAGS_CHECKTYPES) != 0;
    old->type = type;
    old->compare = (tw_compare_function)type->tp_as_async; /* where tp_compare was */
    old->number = (tw_number_methods *)type->tp_as_number;
    old->sequence = type->tp_as_sequence;
    old->mapping = type->tp_as_mapping;
    old->buffer = (tw_buffer_procs *)type->tp_as_buffer;
    old->next = tw_old_types;
    tw_old_types = old; /* for good, as the type */
    type->tp_as_async = NULL;
    type->tp_vectorcall_offset = 0; /* where tp_print was */
    type->tp_flags = (type->tp_flags & ~Py_TPFLAGS_CHECKTYPES) | Py_TPFLAGS_DEFAULT;
    if (old->compare != NULL && type->tp_richcompare == NULL) {
        type->tp_richcompare = tw_richcompare;
    }
    if (old->number != NULL) {
        tw_ready_number(old, checks_types);
    }
    if (old->buffer != NULL) {
        tw_ready_buffer(old);
    }
    tw_ready_subscript(old);
    if (type->tp_base != NULL && tw_type_ready(type->tp_base) < 0) {
        return -1;
    }
    return PyType_Ready(type);
}

/* The type of a new object, made ready; one that cannot be leaves the exception to the object's maker. */
static inline PyTypeObject *
tw_ready(PyTypeObject *type)
{
    if ((type->tp_flags & Py_TPFLAGS_READY) == 0 && tw_type_ready(type) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    return type;
}

#undef PyType_Ready
#define PyType_Ready(type) tw_type_ready(type)
#define PyNumberMethods tw_number_methods
#define PyBufferProcs tw_buffer_procs
#define tp_compare tp_as_async
#define tp_print tp_vectorcall_offset
#define sq_slice was_sq_slice
#define sq_ass_slice was_sq_ass_slice
#else
#define Py_TPFLAGS_CHECKTYPES 0
#define tw_ready(type) (type)
#endif

#undef PyObject_New
#define PyObject_New(type, of) ((type *)_PyObject_New(tw_ready(of)))
#undef PyObject_NEW
#define PyObject_NEW PyObject_New
#undef PyObject_NewVar
#define PyObject_NewVar(type, of, count) ((type *)_PyObject_NewVar(tw_ready(of), (count)))
#undef PyObject_NEW_VAR
#define PyObject_NEW_VAR PyObject_NewVar
#undef PyObject_GC_New
#define PyObject_GC_New(type, of) ((type *)_PyObject_GC_New(tw_ready(of)))
#undef PyObject_GC_NewVar
#define PyObject_GC_NewVar(type, of, count) ((type *)_PyObject_GC_NewVar(tw_ready(of), (count)))
#undef PyObject_Init
#define PyObject_Init(object, of) PyObject_Init((PyObject *)(object), tw_ready(of))
#undef PyObject_INIT
#define PyObject_INIT PyObject_Init
#ifndef PyObject_DEL
#define PyObject_DEL PyObject_Free
#endif

/* ---- modules ---- */

/* A module's functions, those of the METH_OLDARGS kind too. */
static inline int
tw_module_functions(PyObject *module, PyMethodDef *methods, PyObject *self)
{
    PyObject *name = PyModule_GetNameObject(module);
    int result = name == NULL ? -1 : 0;
    for (; result == 0 && methods != NULL && methods->ml_name != NULL; methods++) {
        PyObject *function = tw_method_new(methods, self, name);
        result = function == NULL ? -1 : PyObject_SetAttrString(module, methods->ml_name, function);
        Py_XDECREF(function);
    }
    Py_XDECREF(name);
    return result;
}

/* Returns a borrowed reference: the module stands in sys.modules. */
static inline PyObject *
tw_module_new(const char *name, PyMethodDef *methods, const char *doc, PyObject *self)
{
    struct PyModuleDef *def = PyMem_Calloc(1, sizeof(*def)); /* for good, as the module */
    if (def == NULL) {
        return PyErr_NoMemory();
    }
    Py_SET_REFCNT((PyObject *)def, 1);
    def->m_name = name;
    def->m_doc = doc;
    def->m_size = -1;
    PyObject *module = PyModule_Create(def);
    if (module == NULL) {
        return NULL;
    }
    PyObject *full_name = PyModule_GetNameObject(module);
    int result = full_name == NULL ? -1 : tw_module_functions(module, methods, self);
    if (result == 0) {
        result = PyObject_SetItem(PyImport_GetModuleDict(), full_name, module);
    }
    Py_XDECREF(full_name);
    Py_DECREF(module);
    return result < 0 ? NULL : module;
}

#define Py_InitModule(name, methods) tw_module_new((name), (methods), NULL, NULL)
#define Py_InitModule3(name, methods, doc) tw_module_new((name), (methods), (doc), NULL)
#define Py_InitModule4(name, methods, doc, self, version)                                          \
    tw_module_new((name), (methods), (doc), (PyObject *)(self))

#endif
