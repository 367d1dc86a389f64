"""Methods trained side by side, measured, and kept: what stands behind tables of trained methods."""
