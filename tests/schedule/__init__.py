"""Schedules: expressions, times, notes and the scheduler, on clocks of the tests' own."""
