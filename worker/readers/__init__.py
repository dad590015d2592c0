"""Files of jobs, read lazily: every data row comes out once, as a `Job` or as a `RejectedRow` with its reason.

    with open_input(Path("jobs.csv.gz"), ReadOptions()) as source:
        for row in source:  # InputRow(parsed, cells)
            ...
    source.sha256

A file that cannot be read as jobs at all is an `InputError`; a bad row never is. Memory does not grow with
the file: a physical line and a record are held to `MAX_RECORD` characters, a cell to `MAX_FIELD`.
"""

from worker.readers.inputs import Input, open_input
from worker.readers.limits import MAX_FIELD, MAX_RECORD
from worker.readers.options import FIELDS, Format, ReadOptions
from worker.readers.sources import hash_file, require_file

__all__ = [
    "FIELDS",
    "MAX_FIELD",
    "MAX_RECORD",
    "Format",
    "Input",
    "ReadOptions",
    "hash_file",
    "open_input",
    "require_file",
]
