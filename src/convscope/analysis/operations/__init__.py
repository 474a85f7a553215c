"""What each operation does: shapes, what it sees, what it costs, when it refuses."""
