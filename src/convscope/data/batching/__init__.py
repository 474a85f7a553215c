"""Samples to batches: a keyed order and keyed random changes."""
