"""Training by a `fit`: Keras's own for models that no program can train, or a HyperModel's."""
