"""Where versions and builds come from, and what became of them: as data, as lines, as a picture."""
