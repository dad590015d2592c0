"""Tests of what reads the present owners: sync, plan, verify, undo."""
