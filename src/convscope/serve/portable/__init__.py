"""The page as one file: the network as a program, checked, put into one HTML file."""
