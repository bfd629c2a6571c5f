"""The `retrieval` command: one file per noun, each parses, calls and prints."""
