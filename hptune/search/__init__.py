"""The search loop: its budget, the order in which results are used, and the finalists."""
