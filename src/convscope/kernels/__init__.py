"""Our own code for the CPU behind one door, and the plain loops that it must equal."""

from convscope.kernels.chain import apply_stages, stages
from convscope.kernels.library import (
    available,
    instruction_set,
    say_once_that_it_is_slower,
    sets,
    why_not,
)
from convscope.kernels.stage_plan import Activation, StagePlan, numbers_of
from convscope.kernels.step import ChainStep
from convscope.kernels.update import adamw, sgd

__all__ = [
    "Activation",
    "ChainStep",
    "StagePlan",
    "adamw",
    "apply_stages",
    "available",
    "instruction_set",
    "numbers_of",
    "say_once_that_it_is_slower",
    "sets",
    "sgd",
    "stages",
    "why_not",
]
