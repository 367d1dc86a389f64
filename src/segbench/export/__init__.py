"""From a PyTorch network to what other runtimes read."""
