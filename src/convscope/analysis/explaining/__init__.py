"""Why a number in a network, or a gradient, is what it is: down to the products."""
