"""Roll-out, roll-back and collection: which build the hosts serve, and which artifacts may go."""
