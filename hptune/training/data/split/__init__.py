"""Which rows belong to the training, validation and test parts, and to the folds of cross-validation."""
