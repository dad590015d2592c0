"""Guards on the cost of a row that time nothing, and tests of the bench's own arithmetic."""
