"""Towers: history encoders, user tower, item tower, and the runtime that serves the user tower without torch.

Serving imports `retrieval.towers.runtime` and `retrieval.towers.artifact` only; everything else here needs torch.
"""
