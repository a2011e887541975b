#!/usr/bin/env python3
"""Turns published DIME checkpoints (.pth.tar) into a model directory for the C++ programs.

A checkpoint is a torch pickle, and a pickle can carry code. This script therefore reads it with a
pickle machine of its own, which knows the few types that such a file holds, builds nothing but
inert values of the classes below, and refuses everything else by name. It needs the Python
standard library alone (3.9 or later): no PyTorch, no numpy. Weights stay in the memory map of the
input until they are written, piece by piece, as float32 safetensors.

In order below: inert values, the pickle machine, torch's two file forms, safetensors, the tensors
of a DIME model and of BERT, the model directory, the command line.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import errno
import hashlib
import json
import math
import mmap
import os
import re
import shutil
import signal
import struct
import sys
import tempfile
import zipfile
import zlib

# Bounds on what one file can make this script hold in memory. A real checkpoint of two BERT-sized
# encoders has about 30 thousand pickle operations and a few hundred kilobytes of pickle.
MAX_PICKLE_BYTES = 64 << 20
MAX_PICKLE_OPERATIONS = 1_000_000
MAX_ZIP_DIRECTORY_BYTES = 8 << 20
MAX_HEADER_BYTES = 8 << 20  # of a safetensors or JSON file
MAX_VOCABULARY_BYTES = 64 << 20
MAX_DIMENSIONS = 16
MAX_PROBLEMS_SHOWN = 300
PIECE_BYTES = 4 << 20

WORDS_DEFAULT = 32  # token positions per caption of the published models
REGIONS = 36  # regions per image of the published models
PATH_WEIGHTS = 36  # path weights of a pair: 16 + 16 + 4
PATH_EMBEDDING = 128
DIRECTIONS = ("i2t", "t2i")
LAMBDA_DEFAULTS = {"i2t": 4.0, "t2i": 9.0}
RAW_FEATURE_NORMS = (
    "clipped_l2norm",
    "l2norm",
    "clipped_l1norm",
    "l1norm",
    "clipped",
    "no_norm",
    "softmax",
)


class ConvertError(Exception):
    """An input that cannot be converted; the message is for the person at the terminal."""


def say(message):
    print(message, file=sys.stderr, flush=True)


def shown(value, depth=2, limit=120):
    """A printable form of any value out of a file: one line, ASCII, of bounded length."""
    if isinstance(value, str):
        text = ascii(value[: limit + 1])
    elif isinstance(value, bytes):
        text = ascii(value[: limit + 1])
    elif value is None or isinstance(value, (bool, int, float)):
        text = repr(value)
    elif isinstance(value, (list, tuple)):
        inner = "..." if depth == 0 else ", ".join(shown(item, depth - 1, 40) for item in value[:8])
        text = f"[{inner}{', ...' if len(value) > 8 and depth else ''}]"
    elif isinstance(value, dict):
        text = f"dict of {len(value)}"
    elif isinstance(value, Tensor):
        text = f"tensor {value.dtype} {list(value.shape)}"
    else:
        text = type(value).__name__
    return text if len(text) <= limit else text[:limit] + "..."


def plain(name):
    """A name out of a file as it can stand in a message: without quotes where it is harmless."""
    return name if re.fullmatch(r"[\w.\-/ ]{1,120}", name, re.ASCII) else shown(name)


# --- Inert values -------------------------------------------------------------------------------

# dtype -> bytes of one element
DTYPES = {
    "float32": 4,
    "float64": 8,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
FLOAT_DTYPES = ("float32", "float64", "float16", "bfloat16")
STORAGE_TYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
SAFETENSORS_TYPES = {
    "F32": "float32",
    "F64": "float64",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


class Storage:
    """A flat run of `numel` elements of one dtype; its bytes are a view into the memory map."""

    __slots__ = ("name", "dtype", "numel", "view", "big_endian", "expected_crc")

    def __init__(self, name, dtype, numel, view=None, big_endian=False, expected_crc=None):
        self.name = name
        self.dtype = dtype
        self.numel = numel
        self.view = view
        self.big_endian = big_endian
        self.expected_crc = expected_crc  # None: nothing (more) to check

    def check_bytes(self):
        if self.expected_crc is None:
            return
        crc = 0
        for start in range(0, len(self.view), PIECE_BYTES):
            crc = zlib.crc32(self.view[start : start + PIECE_BYTES], crc)
        if crc != self.expected_crc:
            raise ConvertError(
                f"storage {shown(self.name)} has a wrong checksum: " "the file is damaged"
            )
        self.expected_crc = None


class StorageRange:
    """What a tensor is built on: `numel` elements of a storage from `start` on (legacy views)."""

    __slots__ = ("storage", "start", "numel")

    def __init__(self, storage, start, numel):
        self.storage = storage
        self.start = start
        self.numel = numel


class Tensor:
    """A strided view of a storage. Offset and strides are in elements, checked on construction."""

    __slots__ = ("storage", "offset", "shape", "strides")

    def __init__(self, storage_range, offset, shape, strides):
        for what, numbers in (("shape", shape), ("strides", strides)):
            if not isinstance(numbers, (tuple, list)) or len(numbers) > MAX_DIMENSIONS:
                raise ConvertError(
                    f"a tensor's {what} is {shown(numbers)}, "
                    f"not a tuple of at most {MAX_DIMENSIONS}"
                )
            if not all(is_size(number) for number in numbers):
                raise ConvertError(
                    f"a tensor's {what} {shown(numbers)} has an entry that is not a "
                    "size from 0 to 2^63 - 1"
                )
        if len(shape) != len(strides):
            raise ConvertError(f"a tensor has shape {shown(shape)} but strides {shown(strides)}")
        if not is_size(offset):
            raise ConvertError(f"a tensor's storage offset is {shown(offset)}")
        numel = math.prod(shape)
        if numel:
            last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
            # The second test refuses tensors that repeat elements (stride 0): none is a weight, and
            # they would let a small file ask for a huge output.
            if last >= storage_range.numel or numel > storage_range.numel:
                raise ConvertError(
                    f"a tensor of shape {shown(shape)}, strides {shown(strides)} and offset "
                    f"{offset} does not fit its storage of {storage_range.numel} elements"
                )
        self.storage = storage_range.storage
        self.offset = storage_range.start + offset
        self.shape = tuple(shape)
        self.strides = tuple(strides)

    @property
    def dtype(self):
        return self.storage.dtype

    @property
    def numel(self):
        return math.prod(self.shape)

    def raw_pieces(self):
        """The elements in row-major order, in the storage's own form, a piece at a time."""
        if self.numel == 0:
            return
        self.storage.check_bytes()
        item = DTYPES[self.dtype]
        piece = PIECE_BYTES // item
        # Drop axes of one element and merge axes that are contiguous with one another.
        axes = []
        for size, stride in zip(self.shape, self.strides):
            if size == 1:
                continue
            if axes and axes[-1][1] == size * stride:
                axes[-1] = (axes[-1][0] * size, stride)
            else:
                axes.append((size, stride))
        if not axes:
            axes = [(1, 1)]
        size, stride = axes[-1]
        if len(axes) == 1 and stride == 1:
            for start in range(self.offset, self.offset + size, piece):
                end = min(start + piece, self.offset + size)
                yield self.storage.view[start * item : end * item]
            return
        elements = self.storage.view.cast({1: "B", 2: "H", 4: "I", 8: "Q"}[item])
        gathered = bytearray()
        for row in outer_offsets(axes[:-1], self.offset):
            for start in range(0, size, piece):
                count = min(piece, size - start)
                if stride == 0:
                    gathered += elements[row : row + 1].tobytes() * count
                else:
                    first = row + start * stride
                    gathered += elements[
                        first : first + (count - 1) * stride + 1 : stride
                    ].tobytes()
                if len(gathered) >= PIECE_BYTES:
                    yield memoryview(gathered)
                    gathered = bytearray()
        if gathered:
            yield memoryview(gathered)

    def float32_pieces(self):
        """The elements in row-major order as little-endian float32 bytes. Float dtypes only."""
        for piece in self.raw_pieces():
            if self.storage.big_endian:
                swapped = array.array({2: "H", 4: "I", 8: "Q"}[DTYPES[self.dtype]])
                swapped.frombytes(piece)
                swapped.byteswap()
                piece = memoryview(swapped).cast("B")
            yield TO_FLOAT32[self.dtype](piece)


def is_size(value):
    return type(value) is int and 0 <= value < 1 << 63


def outer_offsets(axes, base):
    """The element offset of every row of a strided array, its innermost axis left out."""
    if not axes:
        yield base
        return
    (size, stride), rest = axes[0], axes[1:]
    for index in range(size):
        yield from outer_offsets(rest, base + index * stride)


def float64_to_float32(piece):
    doubles = array.array("d")
    doubles.frombytes(piece)
    return array.array("f", doubles).tobytes()


def float16_to_float32(piece):
    return array.array("f", struct.unpack(f"<{len(piece) // 2}e", piece)).tobytes()


def bfloat16_to_float32(piece):
    # A bfloat16 is the upper half of a float32.
    widened = bytearray(2 * len(piece))
    widened[2::4] = piece[0::2]
    widened[3::4] = piece[1::2]
    return widened


TO_FLOAT32 = {
    "float32": lambda piece: piece,
    "float64": float64_to_float32,
    "float16": float16_to_float32,
    "bfloat16": bfloat16_to_float32,
}


class StateDict(dict):
    """Stands in for collections.OrderedDict."""

    __slots__ = ()


class Options:
    """Stands in for argparse.Namespace: the fields are a dictionary, never attributes."""

    __slots__ = ("fields",)

    def __init__(self):
        self.fields = {}


class StorageType:
    """Stands in for torch.FloatStorage and its like: a name for a dtype, not callable."""

    __slots__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype


class NumpyType:
    """Stands in for numpy.dtype of a number: what a numpy scalar is decoded by."""

    __slots__ = ("code", "order")
    FORMATS = {
        "f2": "e",
        "f4": "f",
        "f8": "d",
        "i1": "b",
        "i2": "h",
        "i4": "i",
        "i8": "q",
        "u1": "B",
        "u2": "H",
        "u4": "I",
        "u8": "Q",
        "b1": "?",
    }

    def __init__(self, code):
        self.code = code
        self.order = "<"


class Constructor:
    """What a pickle may call: a name and the function of this script that stands behind it."""

    __slots__ = ("name", "build")

    def __init__(self, name, build):
        self.name = name
        self.build = build  # (tuple of arguments, PickleMachine) -> value


def bad_arguments(name, arguments):
    return ConvertError(
        f"the pickle calls {name} with arguments {shown(arguments)}, " "which no checkpoint does"
    )


def build_tensor(arguments, machine):
    # (storage, offset, size, stride[, requires_grad, backward_hooks[, metadata]])
    if not 4 <= len(arguments) <= 7 or type(arguments[0]) is not StorageRange:
        raise bad_arguments("the tensor constructor", arguments)
    return Tensor(*arguments[:4])


def build_parameter(arguments, machine):
    if len(arguments) != 3 or type(arguments[0]) is not Tensor:
        raise bad_arguments("torch._utils._rebuild_parameter", arguments)
    return arguments[0]


def build_state_dict(arguments, machine):
    result = StateDict()
    if not arguments:
        return result
    pairs = arguments[0]
    if len(arguments) != 1 or type(pairs) is not list:
        raise bad_arguments("collections.OrderedDict", arguments)
    machine.spend(len(pairs))
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise bad_arguments("collections.OrderedDict", arguments)
        machine.put(result, pair[0], pair[1])
    return result


def build_options(arguments, machine):
    if arguments:
        raise bad_arguments("argparse.Namespace", arguments)
    return Options()


def build_numpy_type(arguments, machine):
    if not arguments or arguments[0] not in tuple(NumpyType.FORMATS):
        raise bad_arguments("numpy.dtype", arguments)
    return NumpyType(arguments[0])


def build_numpy_scalar(arguments, machine):
    if len(arguments) == 2 and type(arguments[0]) is NumpyType and type(arguments[1]) is bytes:
        layout = arguments[0].order + NumpyType.FORMATS[arguments[0].code]
        if struct.calcsize(layout) == len(arguments[1]):
            return struct.unpack(layout, arguments[1])[0]
    raise bad_arguments("numpy's scalar constructor", arguments)


def build_encoded(arguments, machine):
    # How protocol 2 writes the few bytes of a numpy scalar.
    if (
        len(arguments) == 2
        and type(arguments[0]) is str
        and len(arguments[0]) <= 64
        and arguments[1] == "latin1"
    ):
        try:
            return arguments[0].encode("latin-1")
        except UnicodeEncodeError:
            pass
    raise bad_arguments("_codecs.encode", arguments)


def allowed_globals():
    """The closed list: everything that a pickle may name, and what stands in for it here."""
    constructors = {
        ("torch._utils", "_rebuild_tensor_v2"): build_tensor,
        ("torch._utils", "_rebuild_tensor"): build_tensor,
        ("torch._utils", "_rebuild_parameter"): build_parameter,
        ("collections", "OrderedDict"): build_state_dict,
        ("argparse", "Namespace"): build_options,
        ("numpy", "dtype"): build_numpy_type,
        ("numpy.core.multiarray", "scalar"): build_numpy_scalar,
        ("numpy._core.multiarray", "scalar"): build_numpy_scalar,
        ("_codecs", "encode"): build_encoded,
    }
    allowed = {key: Constructor(".".join(key), build) for key, build in constructors.items()}
    for name, dtype in STORAGE_TYPES.items():
        allowed["torch", name] = StorageType(dtype)
    return allowed


ALLOWED_GLOBALS = allowed_globals()


# --- The pickle machine -------------------------------------------------------------------------


class PickleMachine:
    """Runs one pickle of bounded size out of a bytes object and returns its value.

    Differs from the pickle module where a hostile file could profit: globals are looked up in
    ALLOWED_GLOBALS and never imported; REDUCE and NEWOBJ call Constructors alone; BUILD acts on
    Options, StateDict and NumpyType alone and sets no attribute by name; dictionary keys are
    scalars; the memo is a dictionary; operations and elements copied are counted against
    MAX_PICKLE_OPERATIONS. Every other operation is refused by name.
    """

    def __init__(self, encoded, position, persistent_load):
        self.encoded = encoded
        self.position = position
        self.persistent_load = persistent_load
        self.stack = []
        self.marks = []
        self.memo = {}
        self.left = MAX_PICKLE_OPERATIONS

    def load(self):
        """The value of the pickle; `position` is then behind its end."""
        while True:
            self.spend(1)
            opcode = self.take(1)[0]
            if opcode == ord("."):
                value = self.pop()
                if self.stack or self.marks:
                    raise ConvertError("the pickle ends with values left on its stack")
                return value
            operation = OPERATIONS.get(opcode)
            if operation is None:
                raise ConvertError(
                    f"the pickle uses operation 0x{opcode:02x} at byte "
                    f"{self.position - 1}, which no checkpoint needs"
                )
            operation(self)

    # Reading.

    def spend(self, count):
        self.left -= count
        if self.left < 0:
            raise ConvertError(
                f"the pickle takes over {MAX_PICKLE_OPERATIONS} operations, "
                "many more than any checkpoint"
            )

    def take(self, count):
        end = self.position + count
        if end > len(self.encoded):
            raise ConvertError(
                f"the pickle is truncated: byte {self.position} is followed by "
                f"{len(self.encoded) - self.position} bytes where {count} are due"
            )
        taken = self.encoded[self.position : end]
        self.position = end
        return taken

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def line(self):
        end = self.encoded.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            raise ConvertError(f"the pickle has no end of line after byte {self.position}")
        taken = self.encoded[self.position : end]
        self.position = end + 1
        return taken

    # The stack.

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ConvertError(f"the pickle takes from an empty stack before byte {self.position}")
        return self.stack.pop()

    def top(self):
        value = self.pop()
        self.stack.append(value)
        return value

    def pop_to_mark(self):
        if not self.marks:
            raise ConvertError(f"the pickle has no mark before byte {self.position}")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        self.spend(len(values))
        return values

    def put(self, mapping, key, value):
        # Scalars only: hashing a nested tuple can take exponential time. Integers are kept to 32
        # bits, so that they cannot be chosen to collide.
        if not (
            key is None
            or type(key) in (str, bytes, bool)
            or (type(key) is int and -1 << 31 <= key < 1 << 31)
        ):
            raise ConvertError(f"the pickle has a dictionary key {shown(key)}; names are due")
        mapping[key] = value

    # Operations.

    def op_text_int(self):
        text = self.line()
        if text in (b"00", b"01"):
            return self.push(text == b"01")
        self.push(self.parsed(int, text))

    def op_text_long(self):
        self.push(self.parsed(int, self.line().rstrip(b"L")))

    def op_text_float(self):
        self.push(self.parsed(float, self.line()))

    def parsed(self, kind, text):
        try:
            if len(text) > 64:
                raise ValueError
            return kind(text)
        except ValueError:
            raise ConvertError(f"the pickle has {shown(text)} where a number is due") from None

    def op_long(self, length):
        if length > 32:
            raise ConvertError(f"the pickle has an integer of {length} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def op_text(self, length):
        try:
            self.push(str(self.take(length), "utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise ConvertError("the pickle has a string that is not UTF-8") from None

    def op_old_text(self, length):
        # A Python 2 string: text where it can be, as torch reads it.
        taken = self.take(length)
        try:
            self.push(str(taken, "utf-8"))
        except UnicodeDecodeError:
            self.push(taken)

    def op_dict(self):
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    def set_items(self, values):
        mapping = self.top()
        if type(mapping) not in (dict, StateDict):
            raise ConvertError(f"the pickle sets items of a {type(mapping).__name__}")
        if len(values) % 2:
            raise ConvertError("the pickle has a dictionary key without a value")
        for index in range(0, len(values), 2):
            self.put(mapping, values[index], values[index + 1])

    def append(self, values):
        target = self.top()
        if type(target) is not list:
            raise ConvertError(f"the pickle appends to a {type(target).__name__}")
        target.extend(values)

    def op_set_item(self):
        value = self.pop()
        key = self.pop()
        self.set_items([key, value])

    def op_append(self):
        value = self.pop()
        self.append([value])

    def op_tuple(self, count):
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def get(self, index):
        if index not in self.memo:
            raise ConvertError(f"the pickle asks for memo {index}, which it never set")
        self.push(self.memo[index])

    def memoize(self, index):
        self.memo[index] = self.top()

    def find(self, module, name):
        found = ALLOWED_GLOBALS.get((module, name))
        if found is None:
            raise ConvertError(
                f"the pickle names {plain(f'{module}.{name}')}, which is not among the few types "
                "that a checkpoint of weights needs; it was neither imported nor run"
            )
        self.push(found)

    def op_global(self):
        module, name = self.line(), self.line()
        self.find(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))

    def op_stack_global(self):
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ConvertError("the pickle names a global by something other than text")
        self.find(module, name)

    def op_call(self):
        arguments = self.pop()
        target = self.pop()
        if type(target) is not Constructor:
            raise ConvertError(
                f"the pickle calls a value of type {type(target).__name__}, which "
                "cannot be called"
            )
        if type(arguments) is not tuple:
            raise bad_arguments(target.name, [arguments])
        self.push(target.build(arguments, self))

    def op_build(self):
        state = self.pop()
        target = self.top()
        if type(target) is Options and type(state) is dict:
            self.spend(len(state))
            target.fields.update(state)
        elif type(target) is StateDict and type(state) is dict:
            pass  # `_metadata` of a module: versions of its layers
        elif (
            type(target) is NumpyType
            and type(state) is tuple
            and len(state) >= 2
            and state[1] in ("<", ">", "|", "=")
        ):
            target.order = ">" if state[1] == ">" else "<"
        else:
            raise ConvertError(
                f"the pickle sets the state of a value of type {type(target).__name__} "
                f"to one of {type(state).__name__}, which no checkpoint does"
            )

    def op_persistent(self):
        self.push(self.persistent_load(self.pop()))

    def op_protocol(self):
        version = self.number(1)
        if version > 5:
            raise ConvertError(f"the pickle has protocol {version}; 5 is the latest known")

    def op_pop(self):
        if self.marks and len(self.stack) == self.marks[-1]:
            self.marks.pop()
        else:
            self.pop()


OPERATIONS = {
    b"\x80": PickleMachine.op_protocol,
    b"\x95": lambda m: m.take(8),  # FRAME: a hint for buffered readers
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"0": PickleMachine.op_pop,
    b"1": lambda m: m.pop_to_mark() and None,
    b"2": lambda m: m.push(m.top()),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": PickleMachine.op_text_int,
    b"L": PickleMachine.op_text_long,
    b"F": PickleMachine.op_text_float,
    b"J": lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"\x8a": lambda m: m.op_long(m.number(1)),
    b"\x8b": lambda m: m.op_long(m.number(4)),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"X": lambda m: m.op_text(m.number(4)),
    b"\x8c": lambda m: m.op_text(m.number(1)),
    b"\x8d": lambda m: m.op_text(m.number(8)),
    b"T": lambda m: m.op_old_text(m.number(4)),
    b"U": lambda m: m.op_old_text(m.number(1)),
    b"B": lambda m: m.push(m.take(m.number(4))),
    b"C": lambda m: m.push(m.take(m.number(1))),
    b"\x8e": lambda m: m.push(m.take(m.number(8))),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.op_tuple(1),
    b"\x86": lambda m: m.op_tuple(2),
    b"\x87": lambda m: m.op_tuple(3),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.pop_to_mark()),
    b"a": PickleMachine.op_append,
    b"e": lambda m: m.append(m.pop_to_mark()),
    b"}": lambda m: m.push({}),
    b"d": PickleMachine.op_dict,
    b"s": PickleMachine.op_set_item,
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    b"g": lambda m: m.get(m.parsed(int, m.line())),
    b"h": lambda m: m.get(m.number(1)),
    b"j": lambda m: m.get(m.number(4)),
    b"p": lambda m: m.memoize(m.parsed(int, m.line())),
    b"q": lambda m: m.memoize(m.number(1)),
    b"r": lambda m: m.memoize(m.number(4)),
    b"\x94": lambda m: m.memoize(len(m.memo)),
    b"c": PickleMachine.op_global,
    b"\x93": PickleMachine.op_stack_global,
    b"R": PickleMachine.op_call,
    b"\x81": PickleMachine.op_call,  # NEWOBJ: the same to us, for every class is a Constructor
    b"b": PickleMachine.op_build,
    b"Q": PickleMachine.op_persistent,
}
OPERATIONS = {opcode[0]: operation for opcode, operation in OPERATIONS.items()}


# --- torch's two file forms ---------------------------------------------------------------------

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


@contextlib.contextmanager
def about(path):
    """Puts the file's name before the message of a ConvertError."""
    try:
        yield
    except ConvertError as error:
        raise ConvertError(f"{path}: {error}") from None


def map_file(path):
    """A read-only view of a whole file through a memory map, which lives as long as the view."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ConvertError("the file is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class Storages:
    """The storages that a pickle's persistent ids name, made on first mention."""

    def __init__(self, file_bytes, locate=None):
        self.file_bytes = file_bytes
        self.locate = locate  # fills in a new storage's bytes; None: they come later
        self.by_key = {}

    def persistent_load(self, persistent_id):
        # ('storage', type, key, device, numel[, view]); view: None or (key, offset, numel)
        if (
            type(persistent_id) is not tuple
            or len(persistent_id) not in (5, 6)
            or persistent_id[0] != "storage"
        ):
            raise ConvertError(
                f"the pickle has a persistent id {shown(persistent_id)}; "
                "only storages of tensors are read"
            )
        _, kind, key, _, numel = persistent_id[:5]
        view = persistent_id[5] if len(persistent_id) == 6 else None
        if type(kind) is not StorageType or type(key) is not str or not is_size(numel):
            raise ConvertError(f"the pickle has a malformed storage {shown(persistent_id)}")
        storage = self.by_key.get(key)
        if storage is None:
            if numel * DTYPES[kind.dtype] > self.file_bytes:
                raise ConvertError(
                    f"storage {shown(key)} claims {numel} elements of {kind.dtype}, "
                    f"more than the file's {self.file_bytes} bytes hold"
                )
            storage = Storage(key, kind.dtype, numel)
            if self.locate is not None:
                self.locate(storage)
            self.by_key[key] = storage
        elif storage.dtype != kind.dtype or storage.numel != numel:
            raise ConvertError(f"storage {shown(key)} is named with two types or sizes")
        if view is None:
            return StorageRange(storage, 0, numel)
        if (
            type(view) is not tuple
            or len(view) != 3
            or not is_size(view[1])
            or not is_size(view[2])
            or view[1] + view[2] > numel
        ):
            raise ConvertError(f"storage {shown(key)} has a view {shown(view)} outside itself")
        return StorageRange(storage, view[1], view[2])


def no_storages(persistent_id):
    raise ConvertError("the file's header holds a tensor")


def read_legacy(view):
    """torch.save() before 1.6: five pickles (magic, protocol, machine, the object, the storages'
    keys), then for each key its element count (8 bytes) and its elements. The machine's byte order
    does not matter: torch writes storages little-endian on every machine."""
    encoded = bytes(view[:MAX_PICKLE_BYTES])
    storages = Storages(len(view))
    position = 0
    values = []
    for part in ("magic number", "protocol version", "system facts", "object", "storage keys"):
        machine = PickleMachine(
            encoded, position, storages.persistent_load if part == "object" else no_storages
        )
        try:
            values.append(machine.load())
        except ConvertError as error:
            if part == "magic number":
                raise ConvertError(
                    "this is no torch checkpoint: neither the zip form nor the "
                    f"legacy form ({error})"
                ) from None
            raise
        position = machine.position
        if part == "magic number" and values[0] != LEGACY_MAGIC:
            raise ConvertError(
                "this is no torch checkpoint: neither the zip form nor the legacy "
                "form (it is a pickle without torch's magic number)"
            )
        if part == "protocol version" and values[1] != LEGACY_PROTOCOL:
            raise ConvertError(
                f"the legacy form's version is {shown(values[1])}; " f"{LEGACY_PROTOCOL} is known"
            )
    keys = values[4]
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ConvertError("the list of storage keys is malformed")
    waiting = dict(storages.by_key)
    for key in keys:
        storage = waiting.pop(key, None)
        if storage is None:
            raise ConvertError(f"storage {shown(key)} is stored twice, or no tensor uses it")
        if position + 8 > len(view):
            raise ConvertError(f"the file is truncated before storage {shown(key)}")
        count = int.from_bytes(view[position : position + 8], "little", signed=True)
        if count != storage.numel:
            raise ConvertError(
                f"storage {shown(key)} has {count} elements where the pickle says "
                f"{storage.numel}"
            )
        start = position + 8
        position = start + count * DTYPES[storage.dtype]
        if position > len(view):
            raise ConvertError(
                f"the file is truncated: storage {shown(key)} needs "
                f"{position - len(view)} more bytes"
            )
        storage.view = view[start:position]
    if waiting:
        raise ConvertError(f"storage {shown(next(iter(waiting)))} is used but not in the file")
    return values[3]


class BoundedFile:
    """A file view with the few methods that zipfile needs for its directory; refuses long reads."""

    def __init__(self, view):
        self.view = view
        self.position = 0

    def seekable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=0):
        position = offset + (0, self.position, len(self.view))[whence]
        if position < 0:
            raise OSError(errno.EINVAL, "seek before the start")
        self.position = position
        return position

    def read(self, count=-1):
        left = max(0, len(self.view) - self.position)
        count = left if count is None or count < 0 else min(count, left)
        if count > MAX_ZIP_DIRECTORY_BYTES:
            raise ConvertError("the zip directory is larger than any checkpoint's")
        taken = bytes(self.view[self.position : self.position + count])
        self.position += count
        return taken


class ZipEntries:
    """The entries of torch's zip form, which stores them uncompressed: views into the map."""

    def __init__(self, view):
        self.view = view
        try:
            # zipfile reads the directory (zip64 too); the entries' bytes come from the map.
            with zipfile.ZipFile(BoundedFile(view)) as archive:
                entries = archive.infolist()
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            OSError,
            struct.error,
            IndexError,
        ) as error:
            raise ConvertError(f"the zip directory is damaged or truncated ({error})") from None
        self.entries = {}
        for entry in entries:
            if entry.filename in self.entries:
                raise ConvertError(f"the zip holds {shown(entry.filename)} twice")
            self.entries[entry.filename] = entry

    def find(self, name):
        """(the entry's bytes, its checksum); None if there is no such entry."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ConvertError(
                f"zip entry {shown(name)} is compressed; torch stores entries as "
                "they are. Unpack the zip and pack it again with `zip -0`"
            )
        if entry.flag_bits & 1:
            raise ConvertError(f"zip entry {shown(name)} is encrypted")
        start = entry.header_offset
        header = bytes(self.view[start : start + 30]) if start >= 0 else b""
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise ConvertError(f"zip entry {shown(name)} has no header where the directory says")
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
        start += 30 + name_bytes + extra_bytes
        end = start + entry.file_size
        if end > len(self.view):
            raise ConvertError(f"zip entry {shown(name)} reaches behind the end of the file")
        return self.view[start:end], entry.CRC


def read_zip(view):
    """torch.save() since 1.6: NAME/data.pkl, NAME/data/KEY for each storage, NAME/byteorder."""
    entries = ZipEntries(view)
    pickles = [
        name for name in entries.entries if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(pickles) != 1:
        raise ConvertError("this is no torch checkpoint: the zip has no data.pkl in its one folder")
    root = pickles[0][: -len("data.pkl")]
    if root + "constants.pkl" in entries.entries:
        raise ConvertError("this is a TorchScript archive, not a checkpoint of weights")
    encoded, crc = entries.find(pickles[0])
    if len(encoded) > MAX_PICKLE_BYTES:
        raise ConvertError(f"its pickle has {len(encoded)} bytes, many more than any checkpoint's")
    encoded = bytes(encoded)
    if zlib.crc32(encoded) != crc:
        raise ConvertError("data.pkl has a wrong checksum: the file is damaged")
    order = entries.find(root + "byteorder")
    order = bytes(order[0][:16]) if order is not None else b"little"
    if order not in (b"little", b"big"):
        raise ConvertError(f"its byte order is {shown(order)}; 'little' and 'big' are known")

    def locate(storage):
        name = f"{root}data/{storage.name}"
        found = entries.find(name)
        if found is None:
            raise ConvertError(f"zip entry {shown(name)} is missing")
        storage.view, storage.expected_crc = found
        storage.big_endian = order == b"big" and DTYPES[storage.dtype] > 1
        if len(storage.view) != storage.numel * DTYPES[storage.dtype]:
            raise ConvertError(
                f"zip entry {shown(name)} has {len(storage.view)} bytes where "
                f"{storage.numel} elements of {storage.dtype} are due"
            )

    machine = PickleMachine(encoded, 0, Storages(len(view), locate).persistent_load)
    return machine.load()


def read_torch_file(path):
    """(the value of a torch.save() file, the form's name). Names the file in its errors."""
    with about(path):
        view = map_file(path)
        if bytes(view[:4]) in (b"PK\x03\x04", b"PK\x05\x06"):
            return read_zip(view), "zip form"
        if bytes(view[257:262]) == b"ustar":
            raise ConvertError(
                "this is a tar archive, not a torch checkpoint (torch's files are "
                "called .pth.tar without being one): unpack it first"
            )
        return read_legacy(view), "legacy form"


# --- safetensors and JSON -----------------------------------------------------------------------


def parse_json(encoded, what):
    """A JSON object out of a file; a ConvertError for anything else."""
    if len(encoded) > MAX_HEADER_BYTES:
        raise ConvertError(f"{what} has {len(encoded)} bytes, too many")
    try:
        value = json.loads(str(encoded, "utf-8"), parse_int=json_integer)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{what} is not JSON ({shown(str(error))})") from None
    if type(value) is not dict:
        raise ConvertError(f"{what} is not a JSON object")
    return value


def json_integer(text):
    if len(text) > 20:
        raise ValueError("an integer of more than 20 digits")
    return int(text)


def read_safetensors(path):
    """Name -> Tensor. Names the file in its errors."""
    with about(path):
        view = map_file(path)
        length = int.from_bytes(view[:8], "little")
        if len(view) < 8 or 8 + length > len(view):
            raise ConvertError("the safetensors file is truncated or none")
        if length > MAX_HEADER_BYTES:
            raise ConvertError(f"its header claims {length} bytes, too many")
        header = parse_json(view[8 : 8 + length], "its header")
        payload = view[8 + length :]
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            entry = entry if type(entry) is dict else {}
            dtype = SAFETENSORS_TYPES.get(str(entry.get("dtype")))
            shape, span = entry.get("shape"), entry.get("data_offsets")
            if (
                dtype is None
                or type(shape) is not list
                or len(shape) > MAX_DIMENSIONS
                or not all(is_size(size) for size in shape)
            ):
                raise ConvertError(f"tensor {plain(name)} has an unknown dtype or a bad shape")
            numel = math.prod(shape)
            if (
                type(span) is not list
                or len(span) != 2
                or not all(is_size(at) for at in span)
                or span[1] > len(payload)
                or span[1] - span[0] != numel * DTYPES[dtype]
            ):
                raise ConvertError(
                    f"tensor {plain(name)} of shape {shown(shape)} does not fit its "
                    f"bytes {shown(span)}"
                )
            storage = Storage(name, dtype, numel, payload[span[0] : span[1]])
            strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
            tensors[name] = Tensor(StorageRange(storage, 0, numel), 0, shape, strides)
        return tensors


def write_safetensors(path, tensors):
    """Writes float tensors as F32, by name. Their payload starts at a multiple of 64 bytes.

    The bytes pass through in pieces, so that a checkpoint of any size needs little memory.
    """
    names = sorted(tensors)
    header = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in names:
        tensor = tensors[name]
        end = position + 4 * tensor.numel
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-(8 + len(encoded)) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for name in names:
            for piece in tensors[name].float32_pieces():
                file.write(piece)
        if file.tell() != 8 + len(encoded) + position:
            raise AssertionError(f"{path}: wrote another size than declared")
    return 8 + len(encoded) + position


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write("\n")


# --- The tensors of a DIME model and of BERT ------------------------------------------------------

# A layout is name -> shape, where a shape holds numbers and the letters of sizes, which are found
# in the tensors that the second dictionary names: letter -> (tensor, axis).


def dime_layout():
    layout = {}

    def linear(name, outputs, inputs):
        layout[name + ".weight"] = (outputs, inputs)
        layout[name + ".bias"] = (outputs,)

    def batch_norm(name):
        for field in ("weight", "bias", "running_mean", "running_var"):
            layout[f"{name}.{field}"] = ("E",)

    linear("image.fc", "E", "D")
    batch_norm("image.bn")
    linear("text.fc", "E", "H")
    linear("text.mapping", "E", "3E")
    for index in range(3):
        layout[f"text.convs1.{index}.weight"] = ("E", 1, index + 1, "H")
        layout[f"text.convs1.{index}.bias"] = ("E",)
    for layer, paths in enumerate((4, 4, 1)):
        stem = f"interaction.dynamic_itr_l{layer}"
        for cell in ("ric", "glgc", "imrc", "cmrc"):
            linear(f"{stem}.{cell}.router.mlp.0", "router", "E")
            linear(f"{stem}.{cell}.router.mlp.2", paths, "router")
        for name in ("fc_1", "fc_2"):
            linear(f"{stem}.glgc.{name}", "E", "E")
        for index in range(3):
            linear(f"{stem}.imrc.sa.att_layer.linears.{index}", "E", "E")
        linear(f"{stem}.imrc.sa.feed_forward_layer.fc1", "hidden", "E")
        linear(f"{stem}.imrc.sa.feed_forward_layer.fc2", "E", "hidden")
        for name in ("fc_scale", "fc_shift", "fc_1", "fc_2"):
            linear(f"{stem}.cmrc.refine.{name}", "E", "E")
    linear("interaction.path_mapping", PATH_EMBEDDING, PATH_WEIGHTS)
    batch_norm("interaction.bn")
    first = "interaction.dynamic_itr_l0"
    return layout, {
        "E": ("image.fc.weight", 0),
        "D": ("image.fc.weight", 1),
        "H": ("text.fc.weight", 1),
        "router": (f"{first}.ric.router.mlp.0.weight", 0),
        "hidden": (f"{first}.imrc.sa.feed_forward_layer.fc1.weight", 0),
    }


def bert_layout(names):
    """BERT's layout with as many layers as the names tell of, with the pooler if they hold it."""
    layout = {
        "embeddings.word_embeddings.weight": ("vocabulary", "H"),
        "embeddings.position_embeddings.weight": ("positions", "H"),
        "embeddings.token_type_embeddings.weight": ("types", "H"),
    }

    def linear(name, outputs, inputs):
        layout[name + ".weight"] = (outputs, inputs)
        layout[name + ".bias"] = (outputs,)

    def layer_norm(name):
        layout[name + ".weight"] = layout[name + ".bias"] = ("H",)

    layer_norm("embeddings.LayerNorm")
    layers = {
        match[1]
        for match in (re.match(r"encoder\.layer\.(\d{1,4})\.", name) for name in names)
        if match
    }
    for layer in range(max(1, len(layers))):
        stem = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            linear(f"{stem}.attention.self.{name}", "H", "H")
        linear(f"{stem}.attention.output.dense", "H", "H")
        layer_norm(f"{stem}.attention.output.LayerNorm")
        linear(f"{stem}.intermediate.dense", "intermediate", "H")
        linear(f"{stem}.output.dense", "H", "intermediate")
        layer_norm(f"{stem}.output.LayerNorm")
    if any(name.startswith("pooler.") for name in names):
        linear("pooler.dense", "H", "H")
    return layout, {
        "vocabulary": ("embeddings.word_embeddings.weight", 0),
        "H": ("embeddings.word_embeddings.weight", 1),
        "positions": ("embeddings.position_embeddings.weight", 0),
        "types": ("embeddings.token_type_embeddings.weight", 0),
        "intermediate": ("encoder.layer.0.intermediate.dense.weight", 0),
    }


def check_layout(tensors, layout, anchors):
    """(letter -> size, list of problems): every missing, unexpected or wrongly shaped tensor."""
    sizes = {}
    for letter, (name, axis) in anchors.items():
        tensor = tensors.get(name)
        if tensor is not None and len(tensor.shape) == len(layout[name]) and tensor.shape[axis] > 0:
            sizes[letter] = tensor.shape[axis]
    if "E" in sizes:
        sizes["3E"] = 3 * sizes["E"]
    problems = []
    for name, letters in layout.items():
        due = tuple(sizes.get(letter, letter) for letter in letters)
        due_text = "[" + ", ".join(map(str, due)) + "]"
        tensor = tensors.get(name)
        if tensor is None:
            problems.append(f"missing: {name} {due_text}")
        elif len(due) != len(tensor.shape) or any(
            type(want) is int and want != have or have == 0 for want, have in zip(due, tensor.shape)
        ):
            problems.append(f"wrong shape: {name} is {list(tensor.shape)} where {due_text} is due")
        elif tensor.dtype not in FLOAT_DTYPES:
            problems.append(f"wrong type: {name} is {tensor.dtype} where floats are due")
    for name in tensors:
        if name not in layout:
            problems.append(f"unexpected: {plain(name)} {list(tensors[name].shape)}")
    return sizes, problems


def raise_problems(problems):
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} with its tensors"
        left = len(problems) - MAX_PROBLEMS_SHOWN
        more = [f"and {left} more"] if left > 0 else []
        raise ConvertError("\n  ".join([count + ":"] + problems[:MAX_PROBLEMS_SHOWN] + more))


def state_dict_tensors(value, what):
    """Name -> Tensor out of a state dict, DataParallel's `module.` stripped, counters dropped."""
    if type(value) not in (StateDict, dict):
        raise ConvertError(f"{what} is {shown(value)}, not a state dict")
    tensors = {}
    for name, tensor in value.items():
        if type(name) is not str or type(tensor) is not Tensor:
            raise ConvertError(f"{what} holds {shown(name)}: {shown(tensor)}, not a named tensor")
        parts = [part for part in name.split(".") if part != "module"]
        if parts[-1:] == ["num_batches_tracked"]:
            continue
        name = ".".join(parts)
        if name in tensors:
            raise ConvertError(f"{what} holds {plain(name)} twice, with `module.` and without")
        tensors[name] = tensor
    return tensors


def normalised_bert(tensors):
    """BERT's tensors under HuggingFace's names: no `bert.`, no gamma and beta, no position ids."""
    renamed = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[0] == "bert":
            parts = parts[1:]
        if parts[-1:] and parts[-1] in ("gamma", "beta"):
            parts[-1] = {"gamma": "weight", "beta": "bias"}[parts[-1]]
        name = ".".join(parts)
        if name in ("embeddings.position_ids", "embeddings.token_type_ids"):
            continue  # buffers of newer versions: a run of numbers
        if name in renamed:
            raise ConvertError(f"BERT's tensor {plain(name)} is there twice, under two names")
        renamed[name] = tensor
    return renamed


class BertWeights:
    """The tensors of one BERT under HuggingFace's names, checked, with the sizes found in them."""

    def __init__(self, tensors):
        self.tensors = normalised_bert(tensors)
        self.layout, anchors = bert_layout(self.tensors)
        self.sizes, problems = check_layout(self.tensors, self.layout, anchors)
        raise_problems(problems)
        self.sizes["layers"] = sum(
            name.endswith(".intermediate.dense.bias") for name in self.layout
        )
        self._digest = None

    def digest(self):
        """A hash of names, shapes and float32 bytes."""
        if self._digest is None:
            hashed = hashlib.sha256()
            for name in sorted(self.tensors):
                tensor = self.tensors[name]
                hashed.update(f"{name} {tensor.shape}\n".encode())
                for piece in tensor.float32_pieces():
                    hashed.update(piece)
            self._digest = hashed.digest()
        return self._digest


class BertDirectory:
    """A BERT directory of either layout: its configuration, vocabulary and perhaps weights."""

    def __init__(self, path):
        self.path = path
        with about(path):
            if not os.path.isdir(path):
                raise ConvertError("--bert names no directory")
            self.config_path = self.first_of("config.json", "bert_config.json")
            self.vocabulary_path = self.first_of("vocab.txt")
            if self.config_path is None:
                raise ConvertError(
                    "there is no config.json or bert_config.json, which must tell "
                    "the number of attention heads"
                )
            if self.vocabulary_path is None:
                raise ConvertError("there is no vocab.txt")
            self.weights_path = self.first_of("model.safetensors", "pytorch_model.bin")
        with about(self.config_path):
            self.config = parse_json(read_whole(self.config_path, MAX_HEADER_BYTES), "the file")
        with about(self.vocabulary_path):
            self.vocabulary = read_whole(self.vocabulary_path, MAX_VOCABULARY_BYTES)
            self.words = vocabulary_words(self.vocabulary)

    def first_of(self, *names):
        for name in names:
            if os.path.isfile(os.path.join(self.path, name)):
                return os.path.join(self.path, name)
        return None

    def read_weights(self):
        """The weights in the directory; a ConvertError if there are none."""
        if self.weights_path is None:
            if self.first_of("model.safetensors.index.json", "pytorch_model.bin.index.json"):
                raise ConvertError(
                    f"{self.path}: its weights are split over several files; save "
                    "them as one model.safetensors"
                )
            raise ConvertError(
                f"{self.path}: there is no model.safetensors or pytorch_model.bin, "
                "and the checkpoint holds no BERT weights either"
            )
        if self.weights_path.endswith(".safetensors"):
            tensors = read_safetensors(self.weights_path)
        else:
            value, _ = read_torch_file(self.weights_path)
            with about(self.weights_path):
                tensors = state_dict_tensors(value, "the file")
        with about(self.weights_path):
            # A pre-training checkpoint carries heads beside BERT itself.
            inside = {name for name in tensors if name.startswith("bert.")}
            heads = (
                set(tensors) - inside
                if inside
                else {
                    name
                    for name in tensors
                    if name.split(".")[0] in ("cls", "classifier", "qa_outputs")
                }
            )
            if heads:
                say(
                    f"{self.weights_path}: {len(heads)} tensors that are not BERT's own are left "
                    f"out ({', '.join(plain(name) for name in sorted(heads)[:4])}"
                    f"{', ...' if len(heads) > 4 else ''})"
                )
            return BertWeights({name: tensors[name] for name in tensors if name not in heads})

    def config_for(self, weights):
        """HuggingFace's config.json for these weights: sizes from the weights, the rest from file.

        A size that the file gives otherwise is an error, for then the two do not belong together.
        """
        sizes = weights.sizes
        with about(self.config_path):
            config = {
                "architectures": ["BertModel"],
                "model_type": "bert",
                "vocab_size": sizes["vocabulary"],
                "hidden_size": sizes["H"],
                "num_hidden_layers": sizes["layers"],
                "num_attention_heads": self.config.get("num_attention_heads"),
                "intermediate_size": sizes["intermediate"],
                "max_position_embeddings": sizes["positions"],
                "type_vocab_size": sizes["types"],
                "hidden_act": self.config.get("hidden_act", "gelu"),
                "layer_norm_eps": self.config.get("layer_norm_eps", 1e-12),
                "pad_token_id": 0,
                "position_embedding_type": "absolute",
            }
            for key in (
                "vocab_size",
                "hidden_size",
                "num_hidden_layers",
                "intermediate_size",
                "max_position_embeddings",
                "type_vocab_size",
            ):
                if self.config.get(key, config[key]) != config[key]:
                    raise ConvertError(
                        f"{key} is {shown(self.config[key])}, but the weights have "
                        f"{config[key]}: this is another BERT's configuration"
                    )
            heads = config["num_attention_heads"]
            if type(heads) is not int or heads < 1 or sizes["H"] % heads:
                raise ConvertError(
                    f"num_attention_heads is {shown(heads)}; a divisor of the "
                    f"hidden size {sizes['H']} is due"
                )
            if config["hidden_act"] != "gelu":
                raise ConvertError(
                    f"hidden_act is {shown(config['hidden_act'])}; only gelu (the "
                    "erf form) is supported"
                )
            epsilon = config["layer_norm_eps"]
            if type(epsilon) is not float or not 0 < epsilon < 1:
                raise ConvertError(f"layer_norm_eps is {shown(epsilon)}; a number in (0, 1) is due")
            if self.config.get("position_embedding_type", "absolute") != "absolute":
                raise ConvertError(
                    "position_embedding_type is not 'absolute', which alone is " "supported"
                )
        if len(self.words) > sizes["vocabulary"]:
            raise ConvertError(
                f"{self.vocabulary_path}: it has {len(self.words)} words, but the "
                f"weights have {sizes['vocabulary']}: this is another BERT's"
            )
        return config


def read_whole(path, limit):
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ConvertError(f"the file has more than {limit} bytes")
    return content


def vocabulary_words(content):
    """The words of a vocab.txt, a line each; checks that BERT's special tokens are among them."""
    try:
        words = [line.rstrip("\r") for line in str(content, "utf-8").split("\n")]
    except UnicodeDecodeError:
        raise ConvertError("the vocabulary is not UTF-8") from None
    while words and not words[-1]:
        words.pop()
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in words]
    if missing:
        raise ConvertError(f"the vocabulary lacks {', '.join(missing)}")
    if words[0] != "[PAD]":
        raise ConvertError("the vocabulary's first word is not [PAD], the padding with id 0")
    return words


# --- DIME checkpoints ---------------------------------------------------------------------------


class DirectionModel:
    """One checkpoint, understood: direction, tensors under the model directory's names, options."""

    def __init__(self, path, checkpoint, direction):
        self.path = path
        self.defaults = []
        if type(checkpoint) not in (dict, StateDict) or "model" not in checkpoint:
            raise ConvertError(
                "this is a torch file, but no DIME checkpoint: it has no entry "
                "'model' (--inspect shows what it holds)"
            )
        parts = checkpoint["model"]
        if type(parts) not in (list, tuple) or len(parts) != 3:
            raise ConvertError(
                f"'model' is {shown(parts)}; a list of three state dicts (image, "
                "text, interaction) is due"
            )
        options = checkpoint.get("opt")
        self.options = (
            options.fields if type(options) is Options else options if type(options) is dict else {}
        )
        self.direction = self.find_direction(direction)

        self.tensors, bert = {}, {}
        for part, state in zip(("image", "text", "interaction"), parts):
            for name, tensor in state_dict_tensors(state, f"the {part} state dict").items():
                if part == "text" and name.startswith("bert."):
                    bert[name] = tensor
                else:
                    self.tensors[f"{part}.{name}"] = tensor
        self.sizes, problems = check_layout(self.tensors, *dime_layout())
        raise_problems(problems)
        self.bert = BertWeights(bert) if bert else None
        if self.bert is not None:
            self.check_bert(self.bert)

        sizes = self.sizes
        for key, letter in (
            ("embed_size", "E"),
            ("img_dim", "D"),
            ("hid_IMRC", "hidden"),
            ("hid_router", "router"),
        ):
            if self.options.get(key, sizes[letter]) != sizes[letter]:
                say(
                    f"{path}: opt says {key} {shown(self.options[key])}, but the weights have "
                    f"{sizes[letter]}, which counts"
                )
        heads = self.option("num_head_IMRC", 16, int)
        if heads < 1 or sizes["E"] % heads:
            raise ConvertError(
                f"num_head_IMRC is {heads}; a divisor of the joint dimension "
                f"{sizes['E']} is due"
            )
        norm = self.option("raw_feature_norm_CMRC", "clipped_l2norm", str)
        if norm not in RAW_FEATURE_NORMS:
            raise ConvertError(
                f"raw_feature_norm_CMRC is {shown(norm)}; known are "
                f"{', '.join(RAW_FEATURE_NORMS)}"
            )
        self.config = {
            "weights": f"{self.direction}.safetensors",
            "bert": "bert",
            "embed_size": sizes["E"],
            "img_dim": sizes["D"],
            "num_head_IMRC": heads,
            "hid_IMRC": sizes["hidden"],
            "hid_router": sizes["router"],
            "raw_feature_norm_CMRC": norm,
            "lambda_softmax_CMRC": self.option(
                "lambda_softmax_CMRC", LAMBDA_DEFAULTS[self.direction], float
            ),
            "no_imgnorm": self.option("no_imgnorm", False, bool),
            "use_abs": self.option("use_abs", False, bool),
        }
        self.max_words = self.option("max_words", WORDS_DEFAULT, int)
        if not 3 <= self.max_words <= 4096:
            raise ConvertError(f"max_words is {self.max_words}; 3 to 4096 are allowed")
        self.lower_case = self.option("do_lower_case", True, bool)
        if self.defaults:
            say(
                f"{path}: opt lacks {', '.join(key for key, _ in self.defaults)}; taken as "
                "published: " + ", ".join(f"{key} = {value}" for key, value in self.defaults)
            )
        self.source = {"file": os.path.basename(path)}
        for key in ("epoch", "best_rsum"):
            value = checkpoint.get(key)
            if type(value) in (int, float) and abs(value) < 1e15:
                self.source[key] = value

    def find_direction(self, asked):
        said = self.options.get("direction")
        if asked is not None:
            if said is not None and said != asked:
                say(
                    f"{self.path}: opt says direction {shown(said)}; taken as {asked}, as "
                    "--direction says"
                )
            return asked
        if said is None:
            raise ConvertError(
                "the checkpoint does not say its direction (opt.direction): add "
                "--direction i2t or --direction t2i, once for each input"
            )
        if said not in DIRECTIONS:
            raise ConvertError(
                f"opt.direction is {shown(said)}; 'i2t' and 't2i' are known "
                "(--direction overrides it)"
            )
        return said

    def option(self, key, default, kind):
        if key not in self.options or self.options[key] is None:
            self.defaults.append((key, default))
            return default
        value = self.options[key]
        if kind is float and type(value) is int and abs(value) < 1 << 53:
            value = float(value)
        if kind is bool and type(value) is int and value in (0, 1):
            value = bool(value)
        if type(value) is not kind or (kind is float and not math.isfinite(value)):
            raise ConvertError(f"opt.{key} is {shown(self.options[key])}; a {kind.__name__} is due")
        return value

    def check_bert(self, bert):
        if bert.sizes["H"] != self.sizes["H"]:
            raise ConvertError(
                f"BERT is {bert.sizes['H']} wide, but text.fc takes " f"{self.sizes['H']}"
            )


def read_direction(path, direction):
    say(f"{path}: reading ({os.path.getsize(path) / 1e6:.1f} MB)")
    checkpoint, form = read_torch_file(path)
    with about(path):
        model = DirectionModel(path, checkpoint, direction)
    config = model.config
    say(
        f"{path}: {model.direction}, {form}, {len(model.tensors)} tensors, "
        f"E {config['embed_size']}, {config['num_head_IMRC']} heads, D {config['img_dim']}, "
        + (
            f"a BERT of {model.bert.sizes['layers']} layers inside"
            if model.bert
            else "no BERT inside"
        )
    )
    return model


# --- The model directory ------------------------------------------------------------------------


def agreed(models, field, what):
    """The value of a field that a model directory holds once, for both directions."""
    values = [getattr(model, field) for model in models]
    if any(value != values[0] for value in values):
        raise ConvertError(
            f"the checkpoints differ in {what} ({values[0]} and {values[1]}); one "
            "model directory cannot hold both"
        )
    return values[0]


def gather_models(inputs, directions):
    if directions and len(directions) != len(inputs):
        raise ConvertError(
            f"{len(inputs)} inputs but --direction {len(directions)} times: give it "
            "once for each input, in their order"
        )
    models = [
        read_direction(path, direction)
        for path, direction in zip(inputs, directions or [None] * len(inputs))
    ]
    if len(models) == 2:
        if models[0].direction == models[1].direction:
            raise ConvertError(
                f"both checkpoints are {models[0].direction} models; a model "
                "directory holds one of each direction. If one's opt is wrong, say "
                "so with --direction, once for each input"
            )
        if models[0].sizes["D"] != models[1].sizes["D"]:
            raise ConvertError(
                "the checkpoints take image features of different widths "
                f"({models[0].sizes['D']} and {models[1].sizes['D']})"
            )
    return sorted(models, key=lambda model: DIRECTIONS.index(model.direction))


def convert(inputs, out, bert_path, directions, force):
    """Reads and checks everything, then writes the model directory. Returns the line to show."""
    out = os.path.realpath(out)
    check_target(out, inputs + ([bert_path] if bert_path else []), force)
    models = gather_models(inputs, directions)
    max_words = agreed(models, "max_words", "max_words")
    lower_case = agreed(models, "lower_case", "do_lower_case")

    if bert_path is None:
        named = next(
            (
                plain(str(model.options[key]))
                for model in models
                for key in ("bert_path", "bert_config_file", "vocab_file")
                if type(model.options.get(key)) is str
            ),
            None,
        )
        raise ConvertError(
            "a checkpoint carries neither BERT's vocabulary nor its configuration: name a "
            "directory with vocab.txt and config.json (or bert_config.json) by --bert"
            + (f"; the checkpoint was trained with {named}" if named else "")
        )
    directory = BertDirectory(bert_path)
    outside = None
    for model in models:
        if model.bert is None:
            outside = outside or directory.read_weights()
            with about(directory.weights_path):
                model.check_bert(outside)
            model.bert = outside
            say(f"{model.direction}: BERT's weights come from {directory.weights_path}")
    if outside is None and directory.weights_path is not None:
        say(
            f"BERT's weights come from the checkpoint{'s' if len(models) > 1 else ''}; those in "
            f"{directory.path} are not used"
        )
    configs = {model.direction: directory.config_for(model.bert) for model in models}
    for model in models:
        if max_words > model.bert.sizes["positions"]:
            raise ConvertError(
                f"max_words is {max_words}, but BERT has only "
                f"{model.bert.sizes['positions']} positions"
            )

    shared = len(models) == 1 or models[0].bert is models[1].bert
    if not shared:
        say("comparing the two BERTs")
        shared = models[0].bert.digest() == models[1].bert.digest()
        say(f"the two directions {'share one BERT' if shared else 'have different BERTs'}")
    berts = {}
    for model in models:
        folder = "bert" if shared else f"bert-{model.direction}"
        model.config["bert"] = folder
        berts[folder] = (model.bert, configs[model.direction])

    config = {
        "format": "dime-model",
        "format_version": 1,
        "max_words": max_words,
        "num_regions": REGIONS,
        "tokenizer": {"lower_case": lower_case, "split_chinese": False},
        "directions": {model.direction: model.config for model in models},
        "source": {model.direction: model.source for model in models},
    }
    written = 0
    with replacing_directory(out, force) as folder:
        for name, (bert, bert_config) in berts.items():
            os.mkdir(os.path.join(folder, name))
            say(f"writing {name}/")
            written += write_safetensors(
                os.path.join(folder, name, "model.safetensors"), bert.tensors
            )
            write_json(os.path.join(folder, name, "config.json"), bert_config)
            with open(os.path.join(folder, name, "vocab.txt"), "wb") as file:
                file.write(directory.vocabulary)
        for model in models:
            say(f"writing {model.config['weights']}")
            written += write_safetensors(
                os.path.join(folder, model.config["weights"]), model.tensors
            )
        write_json(os.path.join(folder, "config.json"), config)
    return (
        f"wrote {out}: {' and '.join(model.direction for model in models)}, "
        f"{' and '.join(sorted(berts))}, {written / 1e6:.1f} MB. Next: "
        f"dime_evaluate --model {out} --data DATA --split test"
    )


def check_target(out, sources, force):
    """Refuses, before anything is read, what could not or should not be written."""
    for source in map(os.path.realpath, sources):
        if source == out or source.startswith(out + os.sep):
            raise ConvertError(f"--out {out} would replace the input {source}")
    if not os.path.lexists(out):
        return
    if not force:
        raise ConvertError(f"{out} exists already; --force replaces it")
    if not os.path.isdir(out):
        raise ConvertError(f"{out} is not a directory; --force replaces model directories only")
    if not os.listdir(out):
        return
    try:
        with open(os.path.join(out, "config.json"), "rb") as file:
            replaceable = json.loads(file.read(MAX_HEADER_BYTES)).get("format") == "dime-model"
    except (OSError, ValueError, AttributeError, RecursionError):
        replaceable = False
    if not replaceable:
        raise ConvertError(f"{out} is no model directory; --force replaces model directories only")


@contextlib.contextmanager
def replacing_directory(out, force):
    """A folder beside `out` that takes its name when the block ends well, and else is removed."""
    parent, name = os.path.split(out)
    os.makedirs(parent, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent)
    try:
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(folder, 0o777 & ~umask)
        yield folder
        if os.path.lexists(out):
            if not force:
                raise ConvertError(f"{out} has come into being meanwhile; --force replaces it")
            old = folder + ".old"
            os.rename(out, old)
            try:
                os.rename(folder, out)
            except OSError:
                os.rename(old, out)
                raise
            shutil.rmtree(old)
        else:
            os.rename(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- Inspection ---------------------------------------------------------------------------------


def inspect(path):
    """Prints what a torch file or safetensors file holds, a line for each value."""
    if path.endswith(".safetensors"):
        value, form = read_safetensors(path), "safetensors"
    else:
        value, form = read_torch_file(path)
    print(f"{path}: {form}, {os.path.getsize(path)} bytes")
    seen = set()
    waiting = [("", value)]  # a list, not recursion: a hostile pickle nests as deep as it likes
    tensors = weights = 0
    while waiting:
        name, item = waiting.pop()
        if type(item) is Tensor:
            tensors += 1
            weights += item.numel
            print(f"  {name}: {item.dtype} {list(item.shape)}")
            continue
        fields = item.fields if type(item) is Options else item
        if type(fields) in (dict, StateDict, list, tuple) and fields:
            if id(fields) in seen:
                print(f"  {name}: the same as above")
                continue
            seen.add(id(fields))
        if type(fields) in (dict, StateDict):
            children = [
                (plain(key) if type(key) is str else shown(key), fields[key]) for key in fields
            ]
        elif type(fields) in (list, tuple) and not all(
            child is None or type(child) in (str, bytes, bool, int, float) for child in fields
        ):
            children = [(f"[{index}]", child) for index, child in enumerate(fields)]
        else:
            print(f"  {name}: {shown(item)}")
            continue
        if not children:
            print(f"  {name or 'the file'}: empty")
        # The names of a state dict have dots of their own: a slash parts the levels.
        waiting.extend(
            (f"{name}/{key}"[-400:] if name else key, child) for key, child in reversed(children)
        )
    print(f"  in all: {tensors} tensors, {weights} elements")


# --- The command line ---------------------------------------------------------------------------

DESCRIPTION = """\
Turns published DIME checkpoints into a model directory for dime_server, dime_evaluate and the
other programs. Nothing that a checkpoint could carry is executed, and PyTorch is not needed.
"""
EPILOG = """\
A checkpoint is one direction: i2t (refines image regions under a caption) or t2i (refines words
under an image). Give one, or one of each for the ensemble. BERT's weights come from the checkpoint
where it has them, else from --bert. BERT's vocabulary and configuration always come from --bert: a
directory in HuggingFace's layout (config.json, vocab.txt, model.safetensors or pytorch_model.bin)
or the original one (bert_config.json, vocab.txt, pytorch_model.bin).

The result: config.json, i2t.safetensors and/or t2i.safetensors (float32), and bert/ in
HuggingFace's layout (bert-i2t/ and bert-t2i/ if the directions' BERT weights differ). It is
written beside MODEL_DIR and renamed, so that MODEL_DIR is never half there.

examples:
  convert_checkpoint.py i2t.pth.tar t2i.pth.tar --bert bert-base-uncased --out model
  convert_checkpoint.py model_best.pth.tar --direction t2i --bert bert-base-uncased --out model
  convert_checkpoint.py model_best.pth.tar --inspect

exit status: 0 done, 1 an input or output is at fault (one message says why), 2 a wrong command line
"""


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs",
        metavar="IN.pth.tar",
        nargs="+",
        help="a checkpoint of torch's zip form or legacy form; at most two",
    )
    parser.add_argument("--out", metavar="MODEL_DIR", help="the model directory to write")
    parser.add_argument(
        "--bert",
        metavar="DIR",
        help="BERT's vocabulary and configuration, and its weights where the "
        "checkpoint has none",
    )
    parser.add_argument(
        "--direction",
        action="append",
        choices=DIRECTIONS,
        help="the direction, where a checkpoint does not say it or says it "
        "wrongly; once for each input, in their order",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace MODEL_DIR and all that is in it, if it is a model directory",
    )
    parser.add_argument(
        "--inspect",
        action="store_true",
        help="print what the inputs hold (names, types, shapes, options); write " "nothing",
    )
    arguments = parser.parse_args(argv)
    if arguments.inspect:
        if arguments.out or arguments.bert or arguments.direction or arguments.force:
            parser.error("--inspect stands alone: it writes nothing")
    else:
        if not arguments.out:
            parser.error("--out MODEL_DIR is missing (or --inspect)")
        if len(arguments.inputs) > 2:
            parser.error("at most two checkpoints: one i2t, one t2i")
    return arguments


def main(argv=None):
    arguments = parse_arguments(argv)
    # Ends by way of the `finally` that removes a half-written directory.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if sys.byteorder != "little":
            raise ConvertError("this script runs on little-endian machines only")
        if arguments.inspect:
            for path in arguments.inputs:
                inspect(path)
        else:
            print(
                convert(
                    arguments.inputs,
                    arguments.out,
                    arguments.bert,
                    arguments.direction,
                    arguments.force,
                )
            )
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # `--inspect | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ConvertError as error:
        say(f"error: {error}")
    except OSError as error:
        say(
            f"error: {plain(str(error.filename))}: {error.strerror}"
            if error.filename
            else f"error: {error}"
        )
    except MemoryError:
        say("error: out of memory")
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
