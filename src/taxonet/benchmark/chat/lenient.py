"""What a reply says beside the answer: an odd value is none, since the answer is paid for."""

from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

# Beyond it, a number that went through another program's floats is no count any more; it also
# leaves room for a sum of two in the 64 bits of a column.
_LARGEST_COUNT = 2**53


def _none_if_odd(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


Lenient = WrapValidator(_none_if_odd)
"""Annotates a field that is None where the server sent something of another form."""

TokenCount = Annotated[int | None, Field(strict=True, ge=0, le=_LARGEST_COUNT), Lenient]
"""A number of tokens; None where it is no integer from 0 to 2**53, such as 12.5 or -1."""
