"""Features: one path from raw values to the arrays that towers read, in training, indexing and serving alike.

`fit_features(spec, dataset, split)` learns; `Features.encode` and `Features.encode_history` encode; `save` and `load`
move what was learned with the model version. NumPy and Arrow only.
"""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.features.declaration import Side
    from retrieval.features.features import Features
    from retrieval.features.fit import fit_features
    from retrieval.features.inputs import EncodedHistory, FeatureInput, HistoryInputs, OlderEvents
    from retrieval.features.kinds.since_last import LAST_EVENT
    from retrieval.features.moving import has_moving, moving_columns
    from retrieval.features.older import BLOCK, Chunks, chunk_counts
    from retrieval.features.spec import ITEM_ID, FeatureSpec, HistorySpec

__all__ = [
    "BLOCK",
    "ITEM_ID",
    "LAST_EVENT",
    "Chunks",
    "EncodedHistory",
    "FeatureInput",
    "FeatureSpec",
    "Features",
    "HistoryInputs",
    "HistorySpec",
    "OlderEvents",
    "Side",
    "chunk_counts",
    "fit_features",
    "has_moving",
    "moving_columns",
]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.features.declaration": ("Side",),
        "retrieval.features.features": ("Features",),
        "retrieval.features.fit": ("fit_features",),
        "retrieval.features.inputs": ("EncodedHistory", "FeatureInput", "HistoryInputs", "OlderEvents"),
        "retrieval.features.kinds.since_last": ("LAST_EVENT",),
        "retrieval.features.moving": ("has_moving", "moving_columns"),
        "retrieval.features.older": ("BLOCK", "Chunks", "chunk_counts"),
        "retrieval.features.spec": ("ITEM_ID", "FeatureSpec", "HistorySpec"),
    },
)
