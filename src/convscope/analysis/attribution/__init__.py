"""Why a network decides as it does: maps over its input, and how far to trust them."""
