"""The index: shards of item embeddings, built, verified and searched. Nothing here needs torch but `encode`.

What is exported here is plain data, for callers that search somewhere else: it loads no search core.
"""

from retrieval.index.filters import AllOf, AnyOf, Filter, NoneOf, Range, SomeOf, Value
from retrieval.index.query import Hits, Query

__all__ = ["AllOf", "AnyOf", "Filter", "Hits", "NoneOf", "Query", "Range", "SomeOf", "Value"]
