"""Reads the text of a scheduled HLO module, as XLA dumps it, into tuples."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

BYTES: Mapping[str, float] = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1,
    "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4,
    "s64": 8, "u64": 8, "f64": 8, "c64": 8,
}  # fmt: skip

# Memory spaces of a layout, S(n); what a device holds outside of HBM has another.
HBM, HOST = 0, 5
FLAGS = (2, 6)  # semaphores

COLLECTIVES = (
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
)  # fmt: skip

_NAME = r"[\w.\-<>]+"
_HEADER = re.compile(rf"(ENTRY )?%?({_NAME}) \(.*\{{\s*$")
_INSTRUCTION = re.compile(rf"  (ROOT )?%?({_NAME}) = ")
_SHAPE = re.compile(rf"\b({'|'.join(BYTES)})\[([\d,]*)\](?:\{{([^}}]*)\}})?")
_NO_ESTIMATE = 1 << 60  # the compiler writes its largest integer where it has none


class Shape(NamedTuple):
    """An array of a type."""

    dtype: str
    dims: tuple[int, ...]
    space: int  # memory space: HBM, HOST or one of the device's own


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    opcode: str
    type: str
    shapes: tuple[Shape, ...]  # of the arrays in its type
    operands: tuple[str, ...]  # names; what stands in the brackets where there are none
    attributes: str  # all that follows the operands
    is_root: bool


class Computation(NamedTuple):
    """Instructions in the order of the schedule."""

    instructions: tuple[Instruction, ...]
    by_name: Mapping[str, Instruction]


class Module(NamedTuple):
    """The computations of a program by name; `entry` is where it starts."""

    computations: Mapping[str, Computation]
    entry: str


def parse(lines: Iterable[str]) -> Module:
    """The module that the lines of a dump spell; ValueError where there is none."""
    found, entry = {}, ""
    for name, is_entry, texts in _computations(lines):
        instructions = [_instruction(text) for text in texts]
        kept = tuple(i for i in instructions if i is not None)
        found[name] = Computation(kept, {i.name: i for i in kept})
        entry = name if is_entry else entry
    if not entry:
        raise ValueError("not a scheduled HLO module: no computation is its ENTRY")
    return Module(found, entry)


def _computations(lines: Iterable[str]) -> Iterator[tuple[str, bool, list[str]]]:
    """Yields (name, whether it is the entry, its instructions, each on one line)."""
    name, is_entry, texts = "", False, []
    for line in lines:
        if not name:
            header = _HEADER.match(line)
            if header:
                name, is_entry, texts = header[2], bool(header[1]), []
        elif line.rstrip() == "}" or line.startswith("}, execution_thread"):
            yield name, is_entry, texts
            name = ""
        elif _INSTRUCTION.match(line):
            texts.append(line.rstrip("\n"))
        elif texts:
            texts[-1] += " " + line.strip()


def _instruction(line: str) -> Instruction | None:
    head = _INSTRUCTION.match(line)
    if not head:
        return None
    rest = line[head.end() :]
    end = _closed(rest, 0) if rest.startswith("(") else rest.find(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opcode = re.match(r"([\w\-]+)\(", rest)
    if not opcode:
        return None
    end = _closed(rest, opcode.end() - 1)
    inside = rest[opcode.end() : end - 1]
    operands = tuple(re.findall(rf"%({_NAME})", inside)) or (inside,)
    return Instruction(
        head[2], opcode[1], kind, shapes(kind), operands, rest[end:], bool(head[1])
    )


def _closed(text: str, start: int) -> int:
    """The place after the bracket that closes the one at `start`."""
    depth = 0
    for bracket in re.finditer(r"[()\[\]{}]", text[start:]):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return start + bracket.end()
    return len(text)


def shapes(text: str) -> tuple[Shape, ...]:
    """The arrays that a type, or any text with types in it, names."""
    found = []
    for dtype, sizes, layout in _SHAPE.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        dims = tuple(int(size) for size in sizes.split(",") if size)
        found.append(Shape(dtype, dims, int(space[1]) if space else HBM))
    return tuple(found)


def size(arrays: Iterable[Shape], space: int | None = None) -> float:
    """Bytes of the arrays; of those in one memory space, where it is given."""
    return sum(
        BYTES[array.dtype] * math.prod(array.dims)
        for array in arrays
        if space is None or array.space == space
    )


def attribute(instruction: Instruction, key: str) -> str:
    """The name or number that an attribute has; "" where it isn't there."""
    found = re.search(rf"\b{key}=%?([\w.\-]+)", instruction.attributes)
    return found[1] if found else ""


def scope(instruction: Instruction) -> str:
    """The path of the jax operation that it comes from; "" where none is named."""
    found = re.search(r'op_name="([^"]*)"', instruction.attributes)
    return found[1] if found else ""


def cycles(instruction: Instruction) -> int | None:
    """Clock cycles by the compiler's cost model; None where it has no estimate."""
    found = re.search(r'"estimated_cycles":"(\d+)"', instruction.attributes)
    count = int(found[1]) if found else _NO_ESTIMATE
    return count if count < _NO_ESTIMATE else None


def called(module: Module, instruction: Instruction) -> list[str]:
    """The computations that an instruction calls, without those of loops."""
    listed = re.search(r"called_computations=\{([^}]*)\}", instruction.attributes)
    names = re.findall(r"%([\w.\-]+)", listed[1]) if listed else []
    names.append(attribute(instruction, "calls"))
    return [name for name in names if name in module.computations]


def without_start(opcode: str) -> str:
    """`all-gather` for both `all-gather` and `all-gather-start`."""
    return opcode.removesuffix("-start")


def operands(computation: Computation, instruction: Instruction) -> list[Instruction]:
    """The operands that are instructions of the computation."""
    by_name = computation.by_name
    return [by_name[name] for name in instruction.operands if name in by_name]
