"""A whole fleet on one machine, under one supervisor."""
