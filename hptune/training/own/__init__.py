"""What users' own code needs: which objects it touches, how they are put back, and when two models are the same."""
