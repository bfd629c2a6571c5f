"""The candidate service in plain Python: engine, planning, merging, what is known of the fleet, towers held."""
