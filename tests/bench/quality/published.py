"""Published figures to beat, each with its source, as listed in shared/data/README.md."""

from __future__ import annotations

from tests.bench.report import Row

_KEYS = ("HR@10", "NDCG@10", "HR@50", "HR@200", "NDCG@200")
_RECTOOLS = "RecTools, HSTU tutorial"
_ESASREC = "eSASRec (2025)"
_BEAUTY = "as listed by eSASRec and TIGER (2023)"
_Line = tuple[str, str, str, tuple[float | None, ...], str]

_LINES: tuple[_Line, ...] = (
    ("ml1m", "no-time", "popularity", (0.0364, 0.0179), _RECTOOLS),
    ("ml1m", "no-time", "5-step smoothed Markov chain", (0.2530, 0.1408, None, 0.693), "measured beside this project"),
    ("ml1m", "no-time", "SASRec, sampled softmax", (0.2877, 0.1622, 0.5518, 0.7632, 0.2525), _RECTOOLS),
    ("ml1m", "no-time", "HSTU, 2 blocks, position bias", (0.3023, 0.1718, 0.5702, 0.7720, 0.2618), _RECTOOLS),
    ("ml1m", "no-time", "SASRec+ (Klenitskiy and Vasilev)", (0.3144,), f"{_ESASREC}, replication"),
    ("ml1m", "no-time", "eSASRec", (0.3133, 0.1772), _ESASREC),
    ("ml1m", "time", "HSTU, 2 blocks, time and position bias", (0.3226, 0.1880, 0.5894, 0.7856, 0.2769), _RECTOOLS),
    ("ml1m", "time", "HSTU-large, 8 blocks", (0.3642, 0.2164, 0.6194, 0.8031, 0.3015), _RECTOOLS),
    ("amazon_beauty", "no-time", "BSARec", (0.1008, 0.0611), "its repository, src/output/BSARec_Beauty_best.log"),
    ("amazon_beauty", "no-time", "SASRec, sampled softmax", (0.0921, 0.0531), _BEAUTY),
    ("amazon_beauty", "no-time", "eSASRec", (0.0928, 0.0523), _ESASREC),
    ("amazon_beauty", "no-time", "TIGER", (0.0648, 0.0384), _BEAUTY),
)


def published(dataset: str, track: str) -> list[Row]:
    """Rows of the figures that others published for a data set and track; none where no published table fits."""
    return [
        {"dataset": data, "track": of, "recipe": name, "kind": "published", "source": source}
        | dict(zip(_KEYS, figures, strict=False))
        for data, of, name, figures, source in _LINES
        if (data, of) == (dataset, track)
    ]
