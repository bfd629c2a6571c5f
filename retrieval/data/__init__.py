"""Events, users and items: reading, checking, splitting, and turning logs of any size into histories."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.data.config import DataConfig, SplitConfig
    from retrieval.data.dataset import Dataset, open_dataset, read_dataset
    from retrieval.data.facts.activity import Activity, activity_of, item_activity
    from retrieval.data.histories.build import build_histories
    from retrieval.data.histories.histories import ContextColumn, Histories, open_histories
    from retrieval.data.splits import Split, by_time, leave_one_out, make_split

__all__ = [
    "Activity",
    "ContextColumn",
    "DataConfig",
    "Dataset",
    "Histories",
    "Split",
    "SplitConfig",
    "activity_of",
    "build_histories",
    "by_time",
    "item_activity",
    "leave_one_out",
    "make_split",
    "open_dataset",
    "open_histories",
    "read_dataset",
]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.data.config": ("DataConfig", "SplitConfig"),
        "retrieval.data.dataset": ("Dataset", "open_dataset", "read_dataset"),
        "retrieval.data.facts.activity": ("Activity", "activity_of", "item_activity"),
        "retrieval.data.histories.build": ("build_histories",),
        "retrieval.data.histories.histories": ("ContextColumn", "Histories", "open_histories"),
        "retrieval.data.splits": ("Split", "by_time", "leave_one_out", "make_split"),
    },
)
