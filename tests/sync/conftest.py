"""Syncs on both stores."""

from tests.batch.test_batch import on_each_store

__all__ = ["on_each_store"]
