"""What training does: a version of the workspace's model, found again or made."""
