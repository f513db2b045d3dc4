"""Guides of keras.io and KerasTuner, rewritten on small data: each file is a module as a user would have it."""
