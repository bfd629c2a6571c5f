"""Features: one path from raw values to the arrays that towers read, in training, indexing and serving alike.

`fit_features(spec, dataset, split)` learns; `Features.encode` and `Features.encode_history` encode, and
`Features.lay_out` makes tokens of histories; `save` and `load` move what was learned with the model version. NumPy and
Arrow only.
"""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.features.chunks import BLOCK, Chunks, chunk_counts
    from retrieval.features.declaration import Side
    from retrieval.features.features import Features
    from retrieval.features.fit import fit_features
    from retrieval.features.history import CODES_AND_TIMES, HistoryTokens
    from retrieval.features.inputs import EncodedHistories, Events, FeatureInput, HistoryInputs
    from retrieval.features.kinds.since_last import LAST_EVENT
    from retrieval.features.known import anything_known, id_known
    from retrieval.features.spec import ITEM_ID, FeatureSpec, HistorySpec
    from retrieval.features.time_varying import needs_activity, stored_time_varying, time_varying_columns

__all__ = [
    "BLOCK",
    "CODES_AND_TIMES",
    "ITEM_ID",
    "LAST_EVENT",
    "Chunks",
    "EncodedHistories",
    "Events",
    "FeatureInput",
    "FeatureSpec",
    "Features",
    "HistoryInputs",
    "HistorySpec",
    "HistoryTokens",
    "Side",
    "anything_known",
    "chunk_counts",
    "fit_features",
    "id_known",
    "needs_activity",
    "stored_time_varying",
    "time_varying_columns",
]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.features.chunks": ("BLOCK", "Chunks", "chunk_counts"),
        "retrieval.features.declaration": ("Side",),
        "retrieval.features.features": ("Features",),
        "retrieval.features.fit": ("fit_features",),
        "retrieval.features.history": ("CODES_AND_TIMES", "HistoryTokens"),
        "retrieval.features.inputs": ("EncodedHistories", "Events", "FeatureInput", "HistoryInputs"),
        "retrieval.features.known": ("anything_known", "id_known"),
        "retrieval.features.kinds.since_last": ("LAST_EVENT",),
        "retrieval.features.time_varying": ("needs_activity", "stored_time_varying", "time_varying_columns"),
        "retrieval.features.spec": ("ITEM_ID", "FeatureSpec", "HistorySpec"),
    },
)
