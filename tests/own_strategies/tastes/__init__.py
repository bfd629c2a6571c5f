"""A package as a user might have it, outside the project: an encoder, a loss, negatives and a baseline of one's own.

Its settings are in tests/integration/test_own_strategies.py.
"""
