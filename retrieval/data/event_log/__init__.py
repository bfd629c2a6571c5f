"""The event log: events that are recorded while services run, kept in Parquet segments beside those imported.

An event is acknowledged once it is in a journal that was flushed to disk. A journal that is old or large enough becomes
a segment, a Parquet file in a folder of the events, which every reader of the events finds there.
"""
