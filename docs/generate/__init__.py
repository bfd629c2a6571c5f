"""Writes the reference pages from the code: settings, command line, wire format, errors, strategies, gates."""
