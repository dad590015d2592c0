"""Measures the fleet on this machine alone: `scripts/bench --fleet`."""
