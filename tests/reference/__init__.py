"""What hptune makes of numbers, beside the same made plainly with pandas, numpy, scikit-learn and scipy.

Nothing that is compared with is hptune's own. `python -m tests.reference` takes more cases and prints the table.
"""
