"""Retrieval quality from shipped recipes, under the protocols that published figures use."""
