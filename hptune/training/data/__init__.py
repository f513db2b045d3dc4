"""The samples: read from the user's source, split once, scaled by the statistics of the training part alone.

A source (`sklearn_sets`, `npz`, `csv_table`) reads `Raw`; `target` tells classes from numbers; `split` deals the rows;
`inputs` learns from the training part how x is prepared; `load` puts them together. A new kind of data is one more
source that returns `Raw`. For cross-validation, `folds` deals the rows outside the test part once more.
"""

from hptune.training.data.load import load_data, load_folds, load_joined
from hptune.training.data.parts import Data, Part, facts

__all__ = ["Data", "Part", "facts", "load_data", "load_folds", "load_joined"]
