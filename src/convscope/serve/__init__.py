"""The page: a trained network that answers while one draws, and its HTTP interface."""
