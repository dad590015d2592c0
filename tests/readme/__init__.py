"""The README is true: its commands run, its tables agree with the code."""
