"""What trains a network: the loop, its optimizer, and what watches it."""
