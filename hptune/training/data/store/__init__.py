"""Samples outside memory: read batch by batch, kept in files, or shared between workers."""
