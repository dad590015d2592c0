"""Runs the throttle, and the schemes it has to beat, against limits on a virtual clock."""
