"""What a run is worth, as one record, and as a model card."""
