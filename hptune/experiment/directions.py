"""Which direction is better, for every metric of Keras, scikit-learn or hptune. Never guessed from a spelling."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hptune.experiment.scorers import SCORERS

Goal: TypeAlias = Literal["minimize", "maximize"]

_MAXIMIZE = """
acc accuracy auc AUC Accuracy BinaryAccuracy BinaryIoU CategoricalAccuracy ConcordanceCorrelation CosineSimilarity
F1Score FBetaScore IoU MeanIoU OneHotIoU OneHotMeanIoU PearsonCorrelation Precision PrecisionAtRecall R2Score Recall
RecallAtPrecision SensitivityAtSpecificity SparseCategoricalAccuracy SparseTopKCategoricalAccuracy
SpecificityAtSensitivity TopKCategoricalAccuracy TrueNegatives TruePositives binary_accuracy binary_io_u
categorical_accuracy concordance_correlation cosine_similarity f1_score f_beta_score fbeta_score io_u mean_io_u
one_hot_io_u one_hot_mean_io_u pearson_correlation precision precision_at_recall r2_score recall recall_at_precision
sensitivity_at_specificity sparse_categorical_accuracy sparse_top_k_categorical_accuracy specificity_at_sensitivity
top_k_categorical_accuracy true_negatives true_positives
"""

_MINIMIZE = """
loss penalty seconds parameters
BCE BinaryCrossentropy CategoricalCrossentropy CategoricalHinge FalseNegatives FalsePositives Hinge KLD KLDivergence
LogCoshError MAE MAPE MSE MSLE MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
MeanSquaredLogarithmicError Poisson RootMeanSquaredError SparseCategoricalCrossentropy SquaredHinge bce
binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy categorical_hinge
ce crossentropy false_negatives false_positives hinge huber kl_divergence kld log_cosh log_cosh_error logcosh mae mape
mean_absolute_error mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error mse msle poisson
root_mean_squared_error sparse_categorical_crossentropy squared_hinge
"""

DIRECTIONS: dict[str, Goal] = {
    **dict.fromkeys(SCORERS, "maximize"),
    **dict.fromkeys(_MAXIMIZE.split(), "maximize"),
    **dict.fromkeys(_MINIMIZE.split(), "minimize"),
}


def direction(metric: str) -> Goal | None:
    """The direction of `metric` or `val_metric`; None where the table does not hold it.

    >>> direction("val_accuracy"), direction("seconds"), direction("profit"), direction("val_f1_score.2")
    ('maximize', 'minimize', None, 'maximize')
    """
    return DIRECTIONS.get(whole_metric(metric).removeprefix("val_"))


def whole_metric(name: str) -> str:
    """The metric of which the curve is a part: several numbers are reported as `f1_score.0`, `f1_score.1` and so on."""
    whole, _, part = name.rpartition(".")
    return whole if whole and part.isdecimal() else name
