"""Who else is told of a search: one tracker a module."""
