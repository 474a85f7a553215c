"""What long work calls to say how far it is; whoever shows it decides how."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # done, in all, what
