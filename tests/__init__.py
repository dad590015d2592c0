"""The tests, a package for each room."""
