"""From the text of a YAML file to an experiment, with the line and column of every problem."""
