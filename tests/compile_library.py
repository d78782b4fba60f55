"""Random C functions against gcc and ctypes.

Each case is a source of some structs and functions. gcc makes a shared library of it, which ctypes calls with
plain pointers; tw.compile makes a Library of the same text, with `out` and const in it or in declare=. Both
must lay out structs alike, and return and write the same.
"""

import ctypes
import inspect
import os
import random
import subprocess
import tempfile

import numpy as np

import tinyweave as tw

NUMBERS = {
    "_Bool": "?", "char": "b", "signed char": "b", "unsigned char": "B", "short": "h",
    "unsigned short": "H",
    "int": "i", "unsigned": "I", "long": "l", "unsigned long": "L", "long long": "q",
    "unsigned long long": "Q",
    "float": "f", "double": "d",
}  # fmt: skip
C_TYPES = {letter: np.ctypeslib.as_ctypes_type(np.dtype(letter)) for letter in NUMBERS.values()}
HEAD = """
#include <stddef.h>
static unsigned long long bits(const void *p, int n)
{
    unsigned long long h = 1469598103934665603ull;
    for (int i = 0; i < n; i++) h = (h ^ ((const unsigned char *)p)[i]) * 1099511628211ull;
    return h;
}
"""


def random_numbers(random, letter, count):
    if letter == "?":
        return np.array([random.random() < 0.5 for _ in range(count)], "?")
    if letter in "fd":
        return np.array([random.uniform(-9, 9) for _ in range(count)], letter)
    limits = np.iinfo(letter)
    return np.array([random.randint(limits.min, limits.max) for _ in range(count)], letter)


# ---- Structs ----


class Struct:
    """A struct or union of random members; `inner` are those it may hold."""

    def __init__(self, random, name, inner):
        self.name = name
        self.kind = "union" if random.random() < 0.15 else "struct"
        self.packed = random.random() < 0.3
        self.members = [self.member(random, f"m{i}", inner) for i in range(random.randint(1, 6))]
        body = " ".join(f"{text};" for _, text, _ in self.members)
        attribute = " __attribute__((packed))" if self.packed and random.random() < 0.5 else ""
        text = f"{self.kind}{attribute} {name} {{ {body} }};\n"
        pragma = self.packed and not attribute
        pack = random.choice([1, 2, 4])
        self.text = f"#pragma pack(push, {pack})\n{text}#pragma pack(pop)\n" if pragma else text

    @staticmethod
    def member(random, name, inner):
        shape = "".join(f"[{random.randint(1, 3)}]" for _ in range(random.choice([0, 0, 0, 1, 2])))
        if inner and random.random() < 0.25:
            struct = random.choice(inner)
            return name, f"{struct.kind} {struct.name} {name}{shape}", struct
        if random.random() < 0.1:
            return name, f"void *{name}", None
        return name, f"{random.choice(list(NUMBERS))} {name}{shape}", None

    def functions(self):
        tag = f"{self.kind} {self.name}"
        offsets = "".join(
            f" p[{i + 1}] = __builtin_offsetof({tag}, {name});" for i, (name, _, _) in enumerate(self.members)
        )
        return f"""
        void layout_{self.name}(long *p) {{ p[0] = sizeof({tag});{offsets} }}
        unsigned long long read_{self.name}(const {tag} *p) {{ return bits(p, sizeof(*p)); }}
        void write_{self.name}({tag} *p)
        {{ for (int i = 0; i < (int)sizeof(*p); i++) ((char *)p)[i] += i + 1; }}
        void each_{self.name}(int n, {tag} p[n]) {{ for (int i = 0; i < n; i++) write_{self.name}(p + i); }}
        """


def check_struct(case, struct, lib, reference):
    dtype = lib.dtypes[struct.name]
    layout = (ctypes.c_long * (len(struct.members) + 1))()
    getattr(reference, f"layout_{struct.name}")(layout)
    ours = [dtype.itemsize, *(dtype.fields[name][1] for name, _, _ in struct.members)]
    case.same(ours, list(layout), f"layout of {struct.name}")
    for function in ("write", "each"):
        memory = np.frombuffer(case.random.randbytes(3 * dtype.itemsize), dtype).copy()
        expected = memory.tobytes()
        own = (ctypes.c_char * len(expected)).from_buffer_copy(expected)
        getattr(reference, f"{function}_{struct.name}")(*((3, own) if function == "each" else (own,)))
        getattr(lib, f"{function}_{struct.name}")(memory)
        case.same(memory.tobytes(), bytes(own), f"{function}_{struct.name}")
    hashed = getattr(reference, f"read_{struct.name}")
    hashed.restype = ctypes.c_ulonglong
    case.same(getattr(lib, f"read_{struct.name}")(memory), hashed(own), f"read_{struct.name}")


# ---- Functions ----


class Function:
    """A function of random parameters, which hashes what it gets and fills what it writes."""

    def __init__(self, random, name):
        self.name, self.random = name, random
        self.parameters, self.body = [], []
        sizes = [f"n{i}" for i in range(random.randint(0, 2))]
        for size in sizes:
            self.add(random.choice(["int", "long", "size_t"]), size, "size")
        for i in range(random.randint(1, 9)):
            self.random_parameter(f"p{i}", sizes)
        random.shuffle(self.parameters)
        self.result = random.choice([*NUMBERS, "void"])
        self.extents = {size: random.randint(1, 4) for size in sizes}

    def add(self, c_type, name, role, dims=()):
        self.parameters.append((c_type, name, role, dims))

    def random_parameter(self, name, sizes):
        role = self.random.choice(["number", "number", "in", "inout", "out", "place"])
        c_type = self.random.choice(list(NUMBERS))
        dims = ()
        if role in ("in", "inout", "out"):
            choices = ["2", "3", *(text for size in sizes for text in (size, f"{size}+1", f"2*{size}"))]
            dims = tuple(self.random.choice(choices) for _ in range(self.random.randint(1, 3)))
        self.add(c_type, name, role, dims)

    def prototype(self, words, sized):
        """`words`: with out and const; `sized`: arrays with their dimensions."""
        texts = []
        for c_type, name, role, dims in self.parameters:
            const = "const " if words and role == "in" else ""
            out = "out " if words and role in ("out", "place") else ""
            array = f"{name}{''.join(f'[{dim}]' for dim in dims)}" if sized and dims else f"*{name}"
            texts.append(f"{out}{const}{c_type} {array if dims or role == 'place' else name}")
        if sized:  # C wants a size in front of the arrays it is in
            order = sorted(range(len(texts)), key=lambda i: self.parameters[i][2] != "size")
            self.parameters = [self.parameters[i] for i in order]
            texts = [texts[i] for i in order]
        return f"{self.result} {self.name}({', '.join(texts) or 'void'})"

    def definition(self, words, sized):
        head = self.prototype(words, sized)
        body = "unsigned long long h = 1; "
        for _c_type, name, role, dims in self.parameters:
            count = "*".join(f"({dim})" for dim in dims)
            if role in ("number", "size"):
                body += f"h = h * 31 + bits(&{name}, sizeof({name})); "
            elif role in ("in", "inout"):
                first = f"({_c_type} *){name}"
                body += f"h = h * 31 + bits({first}, {count} * sizeof({_c_type})); "
        for c_type, name, role, dims in self.parameters:
            count = "*".join(f"({dim})" for dim in dims)
            if role in ("inout", "out"):
                body += f"for (long i = 0; i < (long)({count}); i++) (({c_type} *){name})[i] = (h + i) % 2; "
            elif role == "place":
                body += f"*{name} = (h >> 3) % 2; "
        result = "" if self.result == "void" else "return (h >> 5) % 100 + 1; "
        return f"{head} {{ {body}{result}}}\n"


def check_function(case, function, lib, reference):
    env = dict(function.extents)
    ours, theirs, outs, inouts = [], [], [], []
    signature = getattr(lib, function.name).__doc__.split("\n")[0]
    for c_type, name, role, dims in function.parameters:
        letter = NUMBERS.get(c_type, {"size_t": "L"}.get(c_type))
        shape = tuple(eval(dim, {}, env) for dim in dims)
        count = int(np.prod(shape, dtype=int))
        if role == "size":
            hidden = name not in inspect.signature(getattr(lib, function.name)).parameters
            theirs.append(C_TYPES[letter](env[name]))
            ours += [] if hidden else [(name, env[name])]
        elif role == "number":
            value = random_numbers(case.random, letter, 1)[0].item()
            theirs.append(C_TYPES[letter](value))
            ours.append((name, value))
        elif role == "place":
            outs.append((C_TYPES[letter] * 1)())
            theirs.append(outs[-1])
        else:
            data = random_numbers(case.random, letter, count)
            raw = (C_TYPES[letter] * count)(*data.tolist())
            theirs.append(raw)
            if role == "out":
                outs.append(raw)
                continue
            array = data.reshape(shape)
            if case.random.random() < 0.3:
                array = np.asfortranarray(array)
            if case.random.random() < 0.3:
                wide = np.zeros((*shape[:-1], 2 * shape[-1]), array.dtype)
                wide[..., ::2] = array
                array = wide[..., ::2]
            ours.append((name, array))
            if role == "inout":
                inouts.append((array, raw))
    raw_function = getattr(reference, function.name)
    result_type = NUMBERS.get(function.result)
    raw_function.restype = None if result_type is None else C_TYPES[result_type]
    expected = raw_function(*theirs)
    got = getattr(lib, function.name)(**dict(ours))
    values = () if got is None else got if isinstance(got, tuple) else (got,)
    wanted = ([] if result_type is None else [expected]) + [np.ctypeslib.as_array(out) for out in outs]
    case.same(len(values), len(wanted), f"results of {signature}")
    for value, want in zip(values, wanted, strict=True):
        case.same(np.ravel(value).tolist(), np.ravel(want).tolist(), signature)
    for array, raw in inouts:
        case.same(array.ravel().tolist(), np.ctypeslib.as_array(raw).tolist(), signature)


# ---- Callbacks ----


class Callback:
    """A function that calls back with numbers of all types and returns what that returned."""

    def __init__(self, random, name):
        self.name = name
        self.types = [random.choice(list(NUMBERS)) for _ in range(random.randint(0, 14))]
        self.result = random.choice(list(NUMBERS))

    def definition(self):
        types = ", ".join(self.types)
        parameters = "".join(f", {c_type} p{i}" for i, c_type in enumerate(self.types))
        arguments = ", ".join(f"p{i}" for i in range(len(self.types)))
        head = f"{self.result} {self.name}({self.result} (*f)({types or 'void'}){parameters})"
        return f"{head} {{ return f({arguments}); }}\n"


def check_callback(case, callback, lib, reference):
    letters = [NUMBERS[c_type] for c_type in callback.types]
    values = [random_numbers(case.random, letter, 1)[0].item() for letter in letters]
    answer = random_numbers(case.random, NUMBERS[callback.result], 1)[0].item()
    seen = []
    ours = getattr(lib, callback.name)(lambda *args: seen.append(args) or answer, *values)
    case.same(seen, [tuple(values)], callback.definition())
    case.same(ours, answer, callback.definition())
    # what gcc made, called by our thunk, and ours by gcc's
    prototype = ctypes.CFUNCTYPE(C_TYPES[NUMBERS[callback.result]], *(C_TYPES[letter] for letter in letters))
    raw = getattr(reference, callback.name)
    raw.restype = C_TYPES[NUMBERS[callback.result]]
    pointer = prototype(lambda *args: seen.append(args) or answer)
    theirs = raw(pointer, *(C_TYPES[letter](value) for letter, value in zip(letters, values, strict=True)))
    case.same(theirs, answer, "ctypes")
    case.same(getattr(lib, callback.name)(pointer, *values), answer, callback.definition())
    case.same(seen[2], tuple(values), callback.definition())


# ---- Cases ----


class Case:
    def __init__(self, seed):
        self.seed, self.random = seed, random.Random(seed)
        self.structs = []
        for i in range(self.random.randint(1, 4)):
            self.structs.append(Struct(self.random, f"s{i}", self.structs))
        self.functions = [Function(self.random, f"f{i}") for i in range(3)]
        self.callbacks = [Callback(self.random, f"c{i}") for i in range(2)]
        self.apart = self.random.random() < 0.4

    def same(self, ours, theirs, what):
        if ours != theirs:
            raise AssertionError(f"case {self.seed}: {what}: {ours!r}, gcc has {theirs!r}\n{self.text}")

    def run(self, folder):
        common = HEAD + "".join(struct.text + struct.functions() for struct in self.structs)
        common += "".join(callback.definition() for callback in self.callbacks)
        sized = [function.definition(True, True) for function in self.functions]
        plain = [function.definition(False, not self.apart) for function in self.functions]
        declare = "".join(function.prototype(True, True) + ";\n" for function in self.functions)
        self.text = common + "".join(plain if self.apart else sized)
        path = os.path.join(folder, f"case{self.seed}.so")
        source = common + "".join(plain)
        command = ["gcc", "-w", "-shared", "-fPIC", "-O1", "-xc", "-", "-o", path]
        subprocess.run(command, input=source.encode(), check=True)
        reference = ctypes.CDLL(path)
        lib = tw.compile(self.text, declare=declare if self.apart else None)
        for struct in self.structs:
            check_struct(self, struct, lib, reference)
        for function in self.functions:
            check_function(self, function, lib, reference)
        for callback in self.callbacks:
            check_callback(self, callback, lib, reference)


def fuzz(count, seed):
    with tempfile.TemporaryDirectory() as folder:
        for number in range(seed, seed + count):
            Case(number).run(folder)
    return 0
