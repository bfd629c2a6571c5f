"""A simulated world: people with interests, items with topics, and the log of what they do."""
