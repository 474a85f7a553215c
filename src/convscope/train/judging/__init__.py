"""What a trained network is worth: its answers, and the figures on them."""
