"""A build measured as it would serve, by services that nobody else knows of, before anything is rolled out."""
