"""The base of every section: frozen, no unknown keys, no silent coercion of what the user wrote."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen piece of an experiment. Its description in `hptune schema` comes from its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)
