"""Settings of `[store]`."""

from __future__ import annotations

from pydantic import Field

from retrieval.config import Section


class StoreConfig(Section):
    """Where artifacts live."""

    uri: str = Field(
        "store",
        min_length=1,
        description="A folder (relative ones are under the workspace) or a pyarrow.fs URI such as s3://bucket/prefix.",
    )
