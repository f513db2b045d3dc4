"""How a segment is trained: the samples, the models, the compiled program, and a trainer for each kind of model."""
