"""Candidates without a fleet: hosts, towers and engine in the caller's own process, with the same version protocol."""
