"""What is trained: each module makes the model of one kind of `model` section, or describes how one is built."""
