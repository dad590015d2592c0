"""Tests of the settings, the keys and the profiles."""
