"""What everything else stands on: errors, seeds, the frozen values, what a process is set to, users' modules."""
