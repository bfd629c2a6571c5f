"""What is known of users when they ask: histories and profiles in a store that is filled while services read it."""
