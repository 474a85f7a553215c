"""Our own code for the CPU behind one door, and the plain loops that it must equal."""
