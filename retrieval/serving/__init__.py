"""Serving: ANN hosts and the candidate service, their version protocol, and what runs them. Runs without torch."""
