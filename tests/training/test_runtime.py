"""How TensorFlow is started."""

from __future__ import annotations

from hptune.training import runtime


def test_the_precision_that_was_asked_for_last_holds() -> None:
    try:
        for precision in ("mixed_bfloat16", "float32", "mixed_bfloat16"):
            runtime.start(precision)
            assert runtime.keras().config.dtype_policy().name == precision
    finally:
        runtime.start("float32")
