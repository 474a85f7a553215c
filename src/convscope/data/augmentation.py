"""Random changes to whole batches, each keyed by (seed, epoch, sample)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Augmentation(BaseModel):
    """Which random changes a training image goes through, and how strong.

    Every amount is 0 (or False) by default: nothing is changed unless asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: int = Field(0, ge=0, description="Largest shift, in pixels, each way.")
    flip: bool = Field(False, description="Mirror left-right, one image in two.")
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, degrees.")
    scale: float = Field(0.0, ge=0, lt=1, description="Largest zoom; 0.1 is 90-111 %.")
    shear: float = Field(0.0, ge=0, le=45, description="Largest shear, degrees.")
    elastic: float = Field(0.0, ge=0, description="Elastic distortion, in pixels.")
    elastic_sigma: float = Field(
        4.0, gt=0, description="Smoothness of the elastic distortion, in pixels."
    )
    brightness: Fraction = Field(0.0, description="Largest change of brightness.")
    contrast: Fraction = Field(0.0, description="Largest change of contrast.")
    saturation: Fraction = Field(0.0, description="Largest change of saturation.")
    cutout: int = Field(0, ge=0, description="Side of the square erased, in pixels.")
    mixup: float = Field(0.0, ge=0, description="Alpha of mixup's Beta(a, a); 0: off.")
    cutmix: float = Field(0.0, ge=0, description="Alpha of CutMix Beta(a, a); 0: off.")
