"""Every user's events in time order: how they are built out of core, and how they lie on disk."""
