"""Segment battery-electrode CT with per-voxel uncertainty: train, export, serve and evaluate."""

__version__ = "0.1.0"
