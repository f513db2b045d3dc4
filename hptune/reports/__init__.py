"""What is shown of a run: on the console, as JSON, as HTML."""
