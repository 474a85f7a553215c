"""The same small network in every form that torch can give to it."""

import torch
from torch import nn

SIZE = (1, 8, 8)
PRODUCTS = 4 * 9 * 64 + 256 * 10  # of the convolution and of the linear layer
PARAMETERS = 4 * 10 + 2 * 4 + 256 * 10 + 10


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


class Slotted(nn.Module):
    __slots__ = ("factor",)

    def __init__(self) -> None:
        super().__init__()
        self.net, self.factor = plain(), torch.tensor(2.0)

    def forward(self, x):
        return self.net(x) * self.factor


def lazy() -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(4, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(10),
    )  # fmt: skip


def normed() -> nn.Module:
    net = plain()
    nn.utils.parametrizations.weight_norm(net[0])
    nn.utils.parametrizations.spectral_norm(net[4])
    return net


def exported(batch: int | None = None) -> nn.Module:
    x = torch.zeros(batch or 2, *SIZE)
    free = None if batch else ({0: torch.export.Dim("batch")},)
    return torch.export.export(plain().eval(), (x,), dynamic_shapes=free).module()


def frozen() -> nn.Module:
    return torch.jit.freeze(torch.jit.script(plain().eval()))


def dynamically_quantized() -> nn.Module:
    quantize = torch.ao.quantization.quantize_dynamic
    return quantize(plain().eval(), {nn.Linear}, dtype=torch.qint8)


def quantized() -> nn.Module:
    around = torch.ao.quantization
    net = nn.Sequential(around.QuantStub(), *plain(), around.DeQuantStub()).eval()
    net.qconfig = around.get_default_qconfig("fbgemm")
    prepared = around.prepare(net)
    prepared(torch.zeros(2, *SIZE))
    return around.convert(prepared)


COUNTED = {
    "fx": lambda: torch.fx.symbolic_trace(plain()),
    "scripted": lambda: torch.jit.script(plain()),
    "traced": lambda: torch.jit.trace(plain().eval(), torch.zeros(2, *SIZE)),
    "scripted inside": lambda: nn.Sequential(
        torch.jit.script(plain()[:3]), nn.Flatten(), plain()[4]
    ),
    "exported": exported,
    "compiled": lambda: torch.compile(plain(), backend="eager"),
    "slots": Slotted,
    "lazy": lazy,
    "data parallel": lambda: nn.DataParallel(plain()),
}  # with the same parameters and products as the plain one
OTHERS = {
    "normed": normed,
    "frozen": frozen,
    "dynamically quantized": dynamically_quantized,
    "quantized": quantized,
}
ALL = {**COUNTED, **OTHERS}
