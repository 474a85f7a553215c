"""Our own code for the CPU behind one door, and the plain loops that it must equal."""

from convscope.kernels.library import available, instruction_set, why_not

__all__ = ["available", "instruction_set", "why_not"]
