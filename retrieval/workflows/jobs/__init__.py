"""Scheduled work: when what is due, one leader that queues and runs it, and what each job's own process does."""
