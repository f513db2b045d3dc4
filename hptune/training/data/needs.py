"""What a model needs of its samples beside the `data` section: how wide numbers are, and what whole numbers mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model needs of its samples.

    wide: numbers keep all their digits, as scikit-learn takes them; else they become Keras's types.
    numbers: whether rows of whole numbers are taken as the numbers that they are, as columns of a table are; False:
        they stand for words or categories, such as `Embedding` takes; None: only the user's code knows.
    prepares: the layer that brings raw samples into shape itself, to which they are given as they are; "": none.
    squares: whether squares of a regression's target may be told, of which float32 holds fewer sizes.
    differences: whether all that is told of a regression depends on differences from the target alone, so that the
        target may be brought near 0 before it becomes float32.
    own_scale: names of the losses that mean something on the target's own scale alone, which is then kept.
    own_losses: names of the user's losses that are given the target as it is trained on.
    floors: names of the metrics and losses that divide by no less than Keras's epsilon.
    """

    wide: bool = False
    numbers: bool | None = None
    prepares: str = ""
    squares: bool = True
    differences: bool = False
    own_scale: tuple[str, ...] = ()
    own_losses: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()

    @property
    def raw(self) -> bool:
        """Whether samples stay as they are unless the data section says otherwise."""
        return self.numbers is False or bool(self.prepares)

    def standardise(self, task: str, scale: str) -> bool:
        """Whether the target is standardised while training. scale: of the `data` section."""
        return task == "regression" and scale != "none" and not self.own_scale

    def kept_scale(self, task: str, scale: str) -> tuple[str, ...]:
        """A note where it is not, for the loss's sake, or where a loss may want that it were not."""
        if task != "regression" or scale == "none":
            return ()
        if self.own_scale:
            name = self.own_scale[0]
            return (f"the target is trained on as it is, and not standardised: {name} is of its own scale",)
        if self.own_losses:
            note = f"{self.own_losses[0]} is given the target standardised (mean 0, deviation 1), and predictions alike"
            return (f"{note}. Where it wants the target's own values, say data.scale: none.",)
        return ()


PLAIN = Needs()
"""Of a model of which nothing is known."""
