"""Scores of a segmentation: counts first, then pure functions of them. NumPy only.

What is undefined is NaN and stays NaN; means leave it out and say so.
"""
