"""What a model needs of its samples beyond the `data` section: how wide numbers are, and what whole numbers mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model needs of its samples.

    wide: numbers keep all their digits, as scikit-learn takes them; else they become Keras's types.
    numbers: whether rows of whole numbers are numbers, as columns of a table are; False: they stand for words or
        categories, as for `Embedding`; None: only the user's code knows.
    prepares: the layer that prepares raw samples itself, which therefore stay as they are; "": none.
    squares: whether squares of a regression's target may be computed, for which float32 has less range.
    differences: whether all figures of a regression depend on differences from the target alone, so that the target may
        be shifted near 0 before it becomes float32.
    own_scale: names of the losses that only make sense on the target's own scale, which is then kept.
    own_losses: names of the user's losses, which get the target as it is trained on.
    floors: names of the metrics and losses that divide by Keras's epsilon at least.
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
        """Whether the target is standardised while training. scale: `data.scale`."""
        return task == "regression" and scale != "none" and not self.own_scale

    def kept_scale(self, task: str, scale: str) -> tuple[str, ...]:
        """A note where the loss keeps the target from being standardised, or may need it as it is."""
        if task != "regression" or scale == "none":
            return ()
        if self.own_scale:
            name = self.own_scale[0]
            return (f"the target is trained on as it is, and not standardised: {name} needs its own scale",)
        if self.own_losses:
            note = f"{self.own_losses[0]} is given the target standardised (mean 0, deviation 1), and predictions alike"
            return (f"{note}. Where it wants the target's own values, say data.scale: none.",)
        return ()


PLAIN = Needs()
"""The needs of a model of which nothing is known."""
