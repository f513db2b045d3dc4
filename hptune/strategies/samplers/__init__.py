"""Samplers: where the points of a strategy come from, one library or method a module."""
