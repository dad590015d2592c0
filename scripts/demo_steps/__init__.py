"""What scripts/demo does once the worker is installed."""
