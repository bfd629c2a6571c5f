"""Other packages, measured beside ours: each fits in a process and an environment of its own."""
