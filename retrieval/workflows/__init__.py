"""What each command does, in Python calls: settings and workspace, training, indexing, evaluation, tuning, the demo."""
