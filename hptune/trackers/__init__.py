"""Trackers, which follow a search beside the screen: one a module."""
