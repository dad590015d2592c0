"""Canary secrets, looked for in everything that a run leaves behind or shows; and files that lead elsewhere."""
