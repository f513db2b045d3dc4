"""What a model needs of its samples beside the `data` section: how wide numbers are, and what whole numbers mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model needs of its samples.

    wide: numbers keep all their digits, as scikit-learn takes them; else they become Keras's types.
    numbers: whether rows of whole numbers are taken as the numbers that they are, as columns of a table are; False:
        they stand for words or categories, such as `Embedding` takes; None: only the user's code knows.
    squares: whether squares of a regression's target may be told, of which float32 holds fewer sizes.
    differences: whether all that is told of a regression depends on differences from the target alone, so that the
        target may be brought near 0 before it becomes float32.
    floors: names of the metrics and losses that divide by no less than Keras's epsilon.
    """

    wide: bool = False
    numbers: bool | None = None
    squares: bool = True
    differences: bool = False
    floors: tuple[str, ...] = ()


PLAIN = Needs()
"""Of a model of which nothing is known."""
