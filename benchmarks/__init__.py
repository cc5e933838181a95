"""Benchmarks: ``python -m benchmarks.NAME [--quick] [--json FILE]``; each prints a table with ratios of one run."""
