"""Embedding-based retrieval: two towers learned from engagement logs, served as one version in two halves."""

__version__ = "0.1.0"
