"""Export the full-size networks of the benchmarks with torch, and commit them without weights.

``make bench`` reads the committed skeletons and fills in seeded weights; run this only to change a
network, from the folder above::

    pip install torch==2.13.0 transformers==5.23.0 onnxscript==0.7.2 onnxruntime
    python -m benchmarks.make_models

They are what users get from ``torch.onnx.export`` (TorchScript exporter, opset 17, constants folded):
BatchNormalization is folded into the convolutions, but in the variants called ``*_bn``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
import transformers
from torch import nn

from tests.models.make_torch import compare, randomise, slim
from tests.models.networks.classify import (
    Bottleneck,
    Head,
    InvertedResidual,
    SqueezeExcite,
    conv_bn,
    stem,
)
from tests.models.networks.pretrained import Only
from tests.models.weights import hollow

OUT = Path(__file__).resolve().parent / "models"


def resnet50() -> nn.Module:
    """He et al. 2015, table 1, with the stride in the 3x3 convolution as torchvision has it."""
    layers: list[nn.Module] = [stem(64)]
    channels = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        middle = 64 << stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(Bottleneck(channels, middle, 4 * middle, stride))
            channels = 4 * middle
    return nn.Sequential(*layers, Head(channels, 1000))


def mobilenetv2() -> nn.Module:
    """Sandler et al. 2018, table 2: expansion, channels, repeats, stride."""
    act = nn.ReLU6
    layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act=act())]
    channels = 32
    for expansion, width, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(repeats):
            middle = expansion * channels
            layers.append(InvertedResidual(channels, middle, width, act, stride=1 if block else stride))
            channels = width
    return nn.Sequential(*layers, conv_bn(channels, 1280, 1, act=act()), Head(1280, 1000))


def efficientnet_b0() -> nn.Module:
    """Tan and Le 2019, table 1: expansion, kernel, channels, repeats, stride."""
    act = nn.SiLU
    layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act=act())]
    channels = 32
    for expansion, kernel, width, repeats, stride in (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ):
        for block in range(repeats):
            middle = expansion * channels
            gate = SqueezeExcite(middle, channels // 4, nn.SiLU())
            layers.append(
                InvertedResidual(channels, middle, width, act, kernel, 1 if block else stride, gate)
            )
            channels = width
    return nn.Sequential(*layers, conv_bn(channels, 1280, 1, act=act()), Head(1280, 1000))


def convnext_tiny() -> nn.Module:
    """Liu et al. 2022: depths 3, 3, 9, 3, channels 96 to 768; the defaults of transformers."""
    config = transformers.ConvNextConfig(num_labels=1000)
    return Only(transformers.ConvNextForImageClassification(config), "logits")


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet50,
    "mobilenetv2": mobilenetv2,
    "efficientnet_b0": efficientnet_b0,
    "convnext_tiny": convnext_tiny,
}
WITH_BATCH_NORM = ("resnet50", "efficientnet_b0")


def export(name: str, fold: bool) -> None:
    """Export one network, compare it with torch, and write its skeleton."""
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    randomise(model, 1, 1.0)
    path = OUT / f"{name}{'' if fold else '_bn'}.onnx"
    image = torch.randn((1, 3, 224, 224), generator=torch.Generator().manual_seed(1))
    mode = torch.onnx.TrainingMode
    torch.onnx.export(
        model,
        (image,),
        str(path),
        dynamo=False,
        opset_version=17,
        do_constant_folding=True,
        training=mode.EVAL if fold else mode.PRESERVE,
        input_names=["image"],
        output_names=["y"],
        external_data=False,
        verbose=False,
    )
    slim(path)
    try:
        compare(model, path, {"image": image})
    except ValueError as error:
        print(f"{path.name}: {error}")
    onnx.save(hollow(onnx.load(path)), path)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def main() -> None:
    """Export all."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    OUT.mkdir(exist_ok=True)
    for name in NETWORKS:
        export(name, True)
        if name in WITH_BATCH_NORM:
            export(name, False)


if __name__ == "__main__":
    main()
