"""Runs of `segbench eval` as one page to look at, without a network: tables, slices, curves, provenance."""
