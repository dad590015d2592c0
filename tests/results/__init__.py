"""What comes out of the ledger: its queries, and the results file."""
