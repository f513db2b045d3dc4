"""What is tried next: strategies decide from the History alone."""
