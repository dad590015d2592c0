"""The rules by which a run is ended early, as tables."""
