"""Build, train, see through and ship convolutional networks.

``import convscope as cs`` loads torch and numpy; everything else is loaded when it is
first used.
"""
