"""What commands do with events that are recorded while services run: follow a file of them, forget a user."""
