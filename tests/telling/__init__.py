"""Whoever is told of a run: notifications, metrics, spans."""
