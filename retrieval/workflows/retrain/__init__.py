"""The retraining chain: from new events to a version that is served, one step after another."""
