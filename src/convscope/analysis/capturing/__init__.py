"""What the layers of a network give for an input: outputs, inputs, gradients."""
