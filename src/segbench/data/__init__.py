"""Simulated and measured volumes, and how they are varied."""
