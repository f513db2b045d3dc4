"""The values that an option is tried at: its default, 0, and another, made from its signature and its name.

Whether a value is one that Keras takes, Keras says: what it refuses must be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMED: Mapping[str, tuple[Any, ...]] = {
    # layers
    "activation": (None, "linear", "relu", "gelu"),
    "recurrent_activation": ("sigmoid", "relu", "hard_sigmoid"),
    "padding": ("valid", "same", "causal"),
    "data_format": (None, "channels_last", "channels_first"),
    "merge_mode": ("concat", "sum", "mul", "ave", None),
    "interpolation": ("nearest", "bilinear", "bicubic"),
    "fill_mode": ("constant", "reflect", "wrap", "nearest"),
    "score_mode": ("dot", "concat"),
    "output_mode": ("int", "one_hot", "multi_hot", "count"),
    "window": ("hann", "hamming", None),
    "scaling": ("density", "spectrum", None),
    "axis": (-1, 1, 0, 2),
    "negative_slope": (0.3, 0.0, 0.1),
    "threshold": (0.0, 0.2),
    "use_cudnn": ("auto", True, False),
    "flash_attention": (None, False, True),
    "seed": (None, 0, 5),
    "dtype": (None, "float32", "float64"),
    "noise_shape": (None,),
    "mask_value": (0.0, 1.0, None),
    "lora_rank": (None, 1),
    "lora_alpha": (None, 2.0),
    "output_padding": (None, 0, 1),
    "max_value": (None, 0.0, 1.0),
    "attention_axes": (None, 1),
    "value_dim": (None, 2),
    "output_shape": (None, 2),
    "sliding_window": (None, 2),
    "shared_axes": (None, 1),
    "quantization_config": (None,),
    "gptq_unpacked_column_size": (None,),
    "bias_axes": (None, "b", "c"),
    "logit_soft_cap": (None, 1.0),
    "reverse_dtype": (None, "float32"),
    "weights": (None,),
    "vocabulary": (None,),
    "idf_weights": (None,),
    "num_tokens": (None, 10, 12),
    "bin_boundaries": (None,),
    "backward_layer": (None,),
    "renorm_clipping": (None,),
    "dropout": (0.0, 0.3, 0.6),
    "recurrent_dropout": (0.0, 0.3, 0.6),
    "rate": (0.0, 0.3, 0.5, 1),
    "stddev": (0.0, 0.3, 1.5),
    "momentum": (0.0, 0.5, 0.9),
    "groups": (1, 0, 2),
    "dilation_rate": (1, 0, 2),
    "name": ("mine", "yours"),
    "min_freq": (20.0, 0.0, 100.0),
    "sequence_length": (None, 32),
    # optimizers
    "learning_rate": (0.05, 0.0, 0.2),
    "beta_1": (0.9, 0.0, 0.5),
    "beta_2": (0.999, 0.0, 0.8),
    "adam_beta_1": (0.9, 0.0, 0.5),
    "adam_beta_2": (0.999, 0.0, 0.8),
    "rho": (0.9, 0.0, 0.5),
    "epsilon": (1e-7, 0.0, 1e-2),
    "weight_decay": (None, 0.0, 0.05),
    "adam_weight_decay": (0.004, 0.0, 0.05),
    "clipnorm": (None, 0.0, 0.1),
    "clipvalue": (None, 0.0, 0.01),
    "global_clipnorm": (None, 0.0, 0.1),
    "ema_momentum": (0.99, 0.0, 0.5),
    "ema_overwrite_frequency": (None, 2),
    "gradient_accumulation_steps": (None, 1, 2),
    "loss_scale_factor": (None, 0.0, 8.0),
    "exclude_layers": (None,),
    "initial_accumulator_value": (0.1, 0.0, 0.5),
    "learning_rate_power": (-0.5, 0.0, -0.25),
    "beta": (0.0, 0.5),
    "l1_regularization_strength": (0.0, 0.05),
    "l2_regularization_strength": (0.0, 0.05),
    "l2_shrinkage_regularization_strength": (0.0, 0.05),
    "warmup_steps": (0, 4),
    "beta_2_decay": (-0.8, 0.0, -0.4),
    "clip_threshold": (1.0, 0.0, 0.5),
    "epsilon_1": (1e-30, 0.0, 1e-3),
    "epsilon_2": (1e-3, 0.0, 1e-1),
    # losses and metrics
    "reduction": ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"),
    "ignore_class": (None, 0, 2),
    "label_smoothing": (0.0, 0.2),
    "class_id": (None, 0, 1),
    "top_k": (None, 1, 2),
    "thresholds": (None, 0.0, 0.5),
    "average": (None, "micro", "macro", "weighted"),
    "curve": ("ROC", "PR"),
    "summation_method": ("interpolation", "minoring", "majoring"),
    "class_aggregation": ("uniform_average", "variance_weighted_average", None),
    "num_labels": (None, 4),
    "label_weights": (None,),
    "num_thresholds": (200, 2, 50),
    "ref_embeddings": (None,),
    "ref_labels": (None,),
}
"""By an argument's name; the class's own default is tried too, and first."""

OF: Mapping[tuple[str, str], tuple[Any, ...]] = {
    ("RandomFlip", "mode"): ("horizontal", "vertical", "horizontal_and_vertical"),
    ("STFTSpectrogram", "mode"): ("log", "magnitude", "psd"),
    ("ReLU", "negative_slope"): (0.0, 0.1),
    ("MelSpectrogram", "num_mel_bins"): (8, 4),
    ("ZeroPadding1D", "padding"): (1, 0, 2),
    ("ZeroPadding2D", "padding"): (1, 0, 2),
    ("ZeroPadding3D", "padding"): (1, 0, 2),
    ("Dot", "axes"): (1, 2, 0),
    ("Discretization", "num_bins"): (None,),
    ("Softmax", "axis"): (-1, 1),
    ("BinaryIoU", "threshold"): (0.5, 0.0, 0.8),
    ("BinaryAccuracy", "threshold"): (0.5, 0.0, 0.8),
    ("F1Score", "threshold"): (None, 0.0, 0.5),
    ("FBetaScore", "threshold"): (None, 0.0, 0.5),
    ("FBetaScore", "beta"): (1.0, 0.0, 2.0),
    ("Tversky", "beta"): (0.5, 0.0, 0.3),
    ("OrthogonalRegularizer", "mode"): ("rows", "columns"),
    ("RandomPosterization", "factor"): (4, 1, 8),
    ("RandomRotation", "fill_value"): (0.0, 1.0),
}
"""Where a class means something else by the name."""


def of_option(cls: str, option: str, default: Any) -> list[Any]:
    """The values of an option of `cls`, its default first; "..." stands for a default that is no plain value.

    >>> of_option("Dense", "use_bias", True), of_option("Conv2D", "strides", [1, 1]), of_option("X", "new", 3)
    ([True, False], [[1, 1], [0, 0], [2, 2]], [3, 0, 4])
    """
    first = [] if default == "..." else [default]
    known = OF.get((cls, option), NAMED.get(option))
    if known is not None:
        return _once([*first, *known])
    return _once([*first, *_another(default)])


def _another(default: Any) -> list[Any]:
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [0, default + 1]
    if isinstance(default, float):
        return [0.0, default / 2 if default else 0.1]
    if isinstance(default, list) and all(isinstance(one, int | float) for one in default):
        return [[0 for _ in default], [one + 1 for one in default]]
    return [] if isinstance(default, str | list) else [1]


def _once(values: list[Any]) -> list[Any]:
    """Each value once; 1, 1.0 and true are three values."""
    found: list[Any] = []
    for value in values:
        if not any(type(value) is type(other) and value == other for other in found):
            found.append(value)
    return found
