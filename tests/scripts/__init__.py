"""Tests of what the commands under scripts/ stand on."""
