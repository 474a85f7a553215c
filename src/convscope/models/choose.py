"""Which model to take when nobody says: by the size and channels of the images."""


def choose(input_shape: tuple[int, int, int]) -> tuple[str, str]:
    """The model for images of that shape, and the reason as a sentence.

    >>> choose((1, 28, 28))[0]
    'lenet5'
    """
    channels, height, width = input_shape
    what = f"{height} x {width} {'grey' if channels == 1 else 'color'} images"
    if channels == 1 and min(height, width) >= 12 and max(height, width) <= 32:
        return "lenet5", f"lenet5, because {what} are what it was made for"
    if min(height, width) < 8:
        return "mlp", f"mlp, because {what} are too small to pool"
    return "resnet9", (
        f"resnet9, because {what} carry more than two small convolutions can use"
        if min(height, width) >= 12
        else f"resnet9, because its 3x3 kernels still fit {what}"
    )
