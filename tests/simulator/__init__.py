"""The Seam look-alike."""
