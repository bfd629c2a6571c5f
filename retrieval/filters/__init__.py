"""Filters on item attributes: as plain data, as a person types them, and evaluated over columns of items."""
