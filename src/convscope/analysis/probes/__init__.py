"""What a network does once it has weights: fields, shifts, statistics, measured."""
