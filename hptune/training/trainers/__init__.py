"""Ways to train: a `Trainer` for each kind of model, and the steps that they share."""
