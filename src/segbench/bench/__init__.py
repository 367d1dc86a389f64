"""Speed: segbench and what a user would pick instead, interleaved in one run, into rows, tables and a chart."""
