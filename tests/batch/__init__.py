"""Whole runs by the library call, against a simulator over real sockets."""
