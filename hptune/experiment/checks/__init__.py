"""Checks of an experiment that no field can do alone: each gives the problems that it finds, with their places."""
