"""Parameters and multiply-adds of one network of every family in timm, judged by torch.

    make judges                     installs timm beside torch and runs this and others
    python benchmarks/families.py   where timm can be imported: some minutes

The smallest network of each family is counted by us and by torch's own counter, both on
the meta device, where nothing is computed; its parameters are counted by timm's way.
It fails on a difference that ``EXPLAINED`` does not know, and on an explanation that is
no longer needed. ``benchmarks/results/families.json`` and the sentence and the table in
``docs/explanation/counting.md`` are written.
"""

import argparse
import functools
import importlib.util
import json
import platform
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convscope.analysis import summary

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "families.json"
DOCUMENT = HERE.parent / "docs" / "explanation" / "counting.md"
BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"

# The smallest network of each of timm's files, by the number of its parameters.
FAMILIES = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet_h1",
    "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "test_convnext",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_parfac_gap",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}

# Families whose count differs from torch's, each with the reason.
EXPLAINED = {
    "csatv2": "its spatial attention multiplies the images of a batch with each other, "
    "so that the cost of one depends on how many there are: ours is that of an image "
    "in a batch of two",
}


def measure(name: str) -> dict[str, Any]:
    """Counts of one network, by us, by timm and by torch."""
    with torch.device("meta"):
        net: nn.Module = _timm().create_model(name).eval()
        size = tuple(net.pretrained_cfg["input_size"])  # type: ignore[index]
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, *size))
    ours = summary(net, size)
    return {
        "model": name,
        "input_shape": list(size),
        "parameters": ours.parameters,
        "timm_parameters": sum(p.numel() for p in net.parameters()),
        "multiply_adds": ours.multiply_adds,
        "activation_products": ours.activation_products,
        "constant_products": ours.constant_products,
        "torch": int(counter.get_total_flops()) // 2,
    }


def difference(row: dict[str, Any]) -> int:
    """How many products we count more than torch."""
    return int(row["multiply_adds"] + row["activation_products"] - row["torch"])


def require_explained(rows: dict[str, dict[str, Any]]) -> None:
    """Stops at a difference without a reason, and at a reason without a difference."""
    for family, row in rows.items():
        if row["parameters"] != row["timm_parameters"]:
            raise SystemExit(f"{family}: parameters differ: {row}")
        if bool(difference(row)) != (family in EXPLAINED):
            raise SystemExit(
                f"{family}: {difference(row):+,} products, "
                f"{EXPLAINED.get(family, 'without an explanation')}"
            )


def as_markdown(record: dict[str, Any]) -> str:
    """What is equal in a sentence, what is not in a table."""
    rows = record["families"]
    differing = {family: row for family, row in rows.items() if difference(row)}
    equal = len(rows) - len(differing)
    total = sum(row["torch"] for f, row in rows.items() if f not in differing)
    lines = [
        f"timm {record['versions']['timm']} has {len(rows)} families of networks. "
        f"For the smallest of each, parameters are equal in all {len(rows)}, and "
        f"multiply-adds with products of activations are equal to the last one in "
        f"{equal} ({total:,} together):",
        "",
        "| family | network | convscope | torch | why |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for family, row in differing.items():
        ours = row["torch"] + difference(row)
        lines.append(
            f"| {family} | {row['model']} | {ours:,} | {row['torch']:,} | "
            f"{EXPLAINED[family]} |"
        )
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")
    known = {_family(name) for name in _timm().list_models()}
    if known != set(FAMILIES):
        raise SystemExit(f"timm's families changed: {sorted(known ^ set(FAMILIES))}")
    rows = {}
    for family, name in FAMILIES.items():
        rows[family] = measure(name)
        print(f"{family}: {name} {difference(rows[family]):+,}", flush=True)
    require_explained(rows)
    record = {
        "versions": {package: version(package) for package in ("torch", "timm")},
        "python": platform.python_version(),
        "families": rows,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    text = as_markdown(record)
    print(text)
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


@functools.cache
def _timm() -> Any:
    path = HERE.parent / "tests" / "judges" / "other_libraries.py"
    spec = importlib.util.spec_from_file_location("other_libraries", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.library("timm")


def _family(name: str) -> str:
    """The file of timm that a network is in."""
    return str(_timm().models.model_entrypoint(name).__module__.rpartition(".")[2])


if __name__ == "__main__":
    main()
