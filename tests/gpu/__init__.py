"""What a CUDA device computes beside what the CPU does, and how fast: `make test-gpu`, or

    python -m tests.gpu --json gpu.json

At most 8 minutes on one card, with the torch and the Python that are installed there (torch ≥ 2.9, Python 3.11 to
3.13); nothing is installed or fetched, and neither grpc nor the native core is needed. What another package is missing
for is left out, and the report says so. Without a card it says so, and passes. `--device cpu --small` runs the same
checks on the CPU in half a minute, so that the script itself can be tested.

Each section (`sections.py`) runs in a process of its own with a time limit of its own: one that crashes or hangs takes
no other with it, and what it had found by then stays in the report.
"""
