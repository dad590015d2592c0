"""The pipeline and the settling of rows, over fakes in memory."""
