"""The corpus: the items that can be retrieved, as of any moment; declared once, for training, evaluation and index."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.data.corpus.config import CorpusConfig
    from retrieval.data.corpus.corpus import (
        Corpus,
        as_built_at,
        as_held,
        built_for,
        end_of_log,
        measured_corpus,
        open_corpus,
    )
    from retrieval.data.corpus.seen import Seen

__all__ = [
    "Corpus",
    "CorpusConfig",
    "Seen",
    "as_built_at",
    "as_held",
    "built_for",
    "end_of_log",
    "measured_corpus",
    "open_corpus",
]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.data.corpus.config": ("CorpusConfig",),
        "retrieval.data.corpus.seen": ("Seen",),
        "retrieval.data.corpus.corpus": (
            "Corpus",
            "as_built_at",
            "as_held",
            "built_for",
            "end_of_log",
            "measured_corpus",
            "open_corpus",
        ),
    },
)
