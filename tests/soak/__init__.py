"""Runs that are killed, stopped and starved, each compared with the truth of the simulator."""
