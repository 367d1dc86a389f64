"""Models against labels: rows, tables and panels."""
