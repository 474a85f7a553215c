"""Where an element of a program's value comes from, if it was only moved."""

from collections.abc import Sequence

import numpy as np

from convscope.serve.portable.program import Program


def source_of(
    program: Program, at: int, element: int, stops: Sequence[int | None]
) -> tuple[int, int] | None:
    """Which of some values an element is a copy of, and which element of that.

    Args:
        program: The program.
        at: The value.
        element: Its place in it, counted through.
        stops: The values to go back to.

    Returns:
        The number among ``stops``, and the element; -1 for both if it was filled in;
        None if it was computed.
    """
    while at not in stops:
        if at <= 0:
            return None
        operation = program.operations[at - 1]
        if operation["op"] == "gather":
            index = np.unravel_index(element, operation["shape"])
            steps = [axis[i] for axis, i in zip(operation["axes"], index, strict=True)]
            if None in steps:
                return -1, -1
            element = operation["base"] + sum(steps)
            at = operation["in"][0]
        elif operation["op"] == "cat":
            places = [int(i) for i in np.unravel_index(element, operation["shape"])]
            axis = operation["axis"]
            for at in operation["in"]:
                if at <= 0:
                    return None
                shape = program.operations[at - 1]["shape"]
                if places[axis] < shape[axis]:
                    element = int(np.ravel_multi_index(places, shape))
                    break
                places[axis] -= shape[axis]
        elif operation["op"] == "same":
            at = operation["in"][0]
        else:
            return None
    return stops.index(at), element
