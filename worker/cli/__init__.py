"""The command line: one file a command, each with a click object `command`.

Whatever is slow to import is imported inside a command's function: `--help` and `--version` stay quick.
"""
