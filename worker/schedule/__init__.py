"""Every night: profiles, the times at which they are due, and the processes that run them."""

from worker.schedule.children import Children
from worker.schedule.notes import Note, Notes
from worker.schedule.profiles import Profile, Schedule, load_schedule
from worker.schedule.service import serve
from worker.schedule.times import first_start, is_owed, next_start

__all__ = [
    "Children",
    "Note",
    "Notes",
    "Profile",
    "Schedule",
    "first_start",
    "is_owed",
    "load_schedule",
    "next_start",
    "serve",
]
