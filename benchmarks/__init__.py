"""Speed and memory beside peers: one module for each table, one harness for all. Run `python -m benchmarks --help`."""
