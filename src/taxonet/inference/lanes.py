"""Two vector instructions for Numba: add one row to another, and turn a square block around.

Numba compiles loops over eight neighbouring rows of images to single numbers, since it cannot know
that two rows of one array differ. Said in LLVM's own vectors, each is a handful of machine
instructions on any processor: an eighth of the time.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: Images that are worked on side by side: one vector of 8 float32 or float64.
LANES = 8

_INDEX = ir.IntType(32)

# The caller does not pass the first parameter, which a type checker cannot know.
_instruction: Callable[[Any], Any] = intrinsic


@_instruction
def mix_rows(_: Any, to: Any, row: Any, keep: Any, source: Any, other: Any, add: Any) -> Any:
    """Compile ``to[row] = keep * to[row] + add * source[other]``.

    ``to`` and ``source`` are contiguous arrays (any, LANES) of one floating type. Nothing is
    checked.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, kind = signature.args[0], context.get_data_type(signature.args[0].dtype)
        target = _address(context, builder, array, values[0], values[1], None)
        origin = _address(context, builder, array, values[3], values[4], None)
        kept = builder.fmul(_load(builder, target, array), _spread(builder, kind, values[2]))
        added = builder.fmul(_load(builder, origin, array), _spread(builder, kind, values[5]))
        _store(builder, builder.fadd(kept, added), target, array)
        return context.get_dummy_value()

    scalar = to.dtype
    return types.void(to, types.intp, scalar, source, types.intp, scalar), generate


@_instruction
def turn_block(
    _: Any, source: Any, row: Any, column: Any, to: Any, to_row: Any, to_column: Any
) -> Any:
    """Compile the copy of a transposed block (LANES, LANES) from one array to another.

    ``to[to_row + j, to_column + i] = source[row + i, column + j]``, with two contiguous arrays of
    one floating type. Nothing is checked.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        start, target = signature.args[0], signature.args[3]
        rows = []
        for i in range(LANES):
            at = builder.add(values[1], ir.Constant(values[1].type, i))
            address = _address(context, builder, start, values[0], at, values[2])
            rows.append(_load(builder, address, start))
        for j, turned in enumerate(_transposed(builder, rows)):
            at = builder.add(values[4], ir.Constant(values[4].type, j))
            address = _address(context, builder, target, values[3], at, values[5])
            _store(builder, turned, address, target)
        return context.get_dummy_value()

    place = (types.intp, types.intp)
    return types.void(source, *place, to, *place), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose by halves: swap the bits of row and lane one after another."""
    rows = list(rows)
    half = LANES // 2
    while half:
        low = [lane + LANES - half if lane & half else lane for lane in range(LANES)]
        high = [lane + LANES if lane & half else lane + half for lane in range(LANES)]
        for i in (row for row in range(LANES) if not row & half):
            pair = rows[i], rows[i + half]
            rows[i] = builder.shuffle_vector(*pair, _lanes(low))
            rows[i + half] = builder.shuffle_vector(*pair, _lanes(high))
        half //= 2
    return rows


def _lanes(chosen: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INDEX, LANES), chosen)


def _spread(builder: Any, kind: Any, scalar: Any) -> Any:
    """Return a vector that holds one number in every lane."""
    blank = ir.Constant(ir.VectorType(kind, LANES), ir.Undefined)
    first = builder.insert_element(blank, scalar, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, blank, _lanes([0] * LANES))


def _address(context: Any, builder: Any, array: Any, value: Any, row: Any, column: Any) -> Any:
    """Return where the vector at a row and column begins; no column is the first."""
    held = context.make_array(array)(context, builder, value)
    flat = builder.mul(row, builder.extract_value(held.shape, 1))
    if column is not None:
        flat = builder.add(flat, column)
    vector = ir.VectorType(context.get_data_type(array.dtype), LANES)
    return builder.bitcast(builder.gep(held.data, [flat]), vector.as_pointer())


def _load(builder: Any, address: Any, array: Any) -> Any:
    loaded = builder.load(address)
    loaded.align = array.dtype.bitwidth // 8  # any number may begin a vector
    return loaded


def _store(builder: Any, value: Any, address: Any, array: Any) -> None:
    builder.store(value, address).align = array.dtype.bitwidth // 8
