"""One forward pass without values: what is called, and what each tensor sees."""
