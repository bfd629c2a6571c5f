"""Training: negatives, popularity correction, losses, the loop with its checkpoints, and the export of a version."""
