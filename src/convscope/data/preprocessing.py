"""Everything between a file and a network's input, declared once."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Preprocessing(BaseModel):
    """How a picture becomes one input; stored in the run folder, used everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal[1, 3] = Field(3, description="1 grey, 3 red-green-blue.")
    bits: Literal[8, 16] = Field(8, description="Bits per channel kept in memory.")
    size: tuple[int, int] = Field(description="Height and width, in pixels.")
    resize: Literal["crop", "squash", "pad"] = Field(
        "crop", description="What gives way when the aspect ratio differs."
    )
    interpolation: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = Field(
        "bilinear", description="Resampling filter; always with antialias."
    )
    centering: Literal["none", "mass", "box"] = Field(
        "none", description="For drawn digits: by centre of mass, or by bounding box."
    )
    mean: tuple[float, ...] = Field(description="Per channel, on the scale 0 to 1.")
    std: tuple[float, ...] = Field(description="Per channel, on the scale 0 to 1.")
