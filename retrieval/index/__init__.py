"""The index: shards of item embeddings, built, verified and searched. Nothing here needs torch but `encode`.

What is exported here is plain data, for callers that search somewhere else: it loads no search core.
"""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.filters.filter import AllOf, AnyOf, Filter, NoneOf, Range, SomeOf, Value
    from retrieval.index.query import Hits, Query

__all__ = ["AllOf", "AnyOf", "Filter", "Hits", "NoneOf", "Query", "Range", "SomeOf", "Value"]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.filters.filter": ("AllOf", "AnyOf", "Filter", "NoneOf", "Range", "SomeOf", "Value"),
        "retrieval.index.query": ("Hits", "Query"),
    },
)
