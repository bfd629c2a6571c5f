"""Events, users and items: reading, checking, splitting, and turning logs of any size into histories."""

from retrieval.data.config import DataConfig, SplitConfig
from retrieval.data.dataset import Dataset, open_dataset, read_dataset
from retrieval.data.facts.activity import Activity, item_activity
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
    "build_histories",
    "by_time",
    "item_activity",
    "leave_one_out",
    "make_split",
    "open_dataset",
    "open_histories",
    "read_dataset",
]
