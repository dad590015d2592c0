"""The other clients, each a script of its own, run in a process of its own with the packages it needs."""
