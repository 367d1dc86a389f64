"""A result as one page that opens anywhere: three planes, labels and uncertainty over the scan, without a network."""
