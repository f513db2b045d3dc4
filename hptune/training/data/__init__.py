"""The samples: read from where the user says, split once, scaled by what the training part alone shows.

A source (`sklearn_sets`, `npz`, `csv_table`) reads `Raw`; `target` tells classes from numbers; `split` deals the rows;
`inputs` learns how x is prepared from the training part; `load` puts them together. A new kind of data is one more
source that returns `Raw`. `folds` deals the rows that are not the test part's once more, for cross-validation.
"""

from hptune.training.data.load import load_data, load_folds, load_joined
from hptune.training.data.parts import Data, Part, facts

__all__ = ["Data", "Part", "facts", "load_data", "load_folds", "load_joined"]
