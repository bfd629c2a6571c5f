"""What the log says, asked in many places and answered here once: activity of items, figures of a dataset."""
