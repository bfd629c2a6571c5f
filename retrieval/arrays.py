"""Names for arrays by what they hold; each name has one dtype, everywhere. Not in `types`, which needs no NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""Whole numbers: counts, ranks, lengths, times in µs."""
Rows = npt.NDArray[np.int64]
"""Which rows of a table, of the histories or of an index."""
Codes = npt.NDArray[np.int64]
"""Codes of a vocabulary."""
Mask = npt.NDArray[np.bool_]
"""Which of some things are meant."""
Vectors = npt.NDArray[np.float32]
"""Embeddings, the last axis their width D."""
Scores = npt.NDArray[np.float32]
"""Inner products of embeddings, or what stands in their place."""
Shares = npt.NDArray[np.float64]
"""Parts of a whole, or probabilities: 0 … 1."""
Figures = npt.NDArray[np.float64]
"""Numbers that were measured or computed: metrics, weights, counts that are expected, raw numbers of a column."""
