"""Measurements: what docs/results.md and `make bench` print."""
