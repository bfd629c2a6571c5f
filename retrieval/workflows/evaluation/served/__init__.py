"""What a service answers beside what was measured: the test targets, asked for as users would, stage by stage."""
