"""Whether a network works on an input, and the nearest change that makes it work."""
