"""What the user asked for: the sections of the YAML, the search space, the checks, and how they are read."""
