"""The candidate service as a process: its calls, its watch over the hosts, start and stop."""
