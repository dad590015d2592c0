"""`check`: a file judged offline."""
