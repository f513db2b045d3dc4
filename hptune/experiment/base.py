"""The base of every section: frozen, no unknown keys, no silent coercion of what the user wrote."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Spec(BaseModel):
    """A frozen piece of an experiment. The texts below its fields are their descriptions in `hptune schema`."""

    # Building validators is most of what loading an experiment costs: each class's is built at its first use. (That is
    # why the schema reads the fields' descriptions itself: pydantic would parse the source of every class at import.)
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True, allow_inf_nan=False)


def whole(value: Any) -> Any:
    """A float without a fraction as an int; anything else as it is. Raises where it has more than 64 bits."""
    if isinstance(value, int | float) and abs(value) >= 2**63:
        raise PydanticCustomError("whole", "must be a whole number of at most 64 bits. Lower it.")
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole: TypeAlias = Annotated[int, BeforeValidator(whole)]
"""A whole number of 64 bits; 3.2e1 and 6e1 are whole numbers too, written as people write them. Text and booleans are
not."""

Count: TypeAlias = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(whole)]
"""A whole number of at least 1, and no more than anybody could train in a lifetime."""

Epochs: TypeAlias = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(whole)]
"""Epochs of one training; the rate of each is drawn and told."""

Repeats: TypeAlias = Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole)]
"""How often one thing is done again."""

Side: TypeAlias = Annotated[int, Field(ge=1, le=16_384), BeforeValidator(whole)]
"""Pixels of a picture's height or width."""
