"""What is measured and broken on purpose, run from a clone: `python -m bench` and `python -m bench.faults`."""
