"""The candidate service in plain data: engine, planning, merging, what is known of the fleet, towers held."""
