"""Building the index of a version, and checking one that was built."""
