"""Export the networks of ``networks/`` with torch's two exporters into ``torch/*.onnx``.

The tests read the committed files; run this only to add a network or to change one::

    pip install torch==2.13.0 transformers==5.23.0 onnxscript==0.7.2 onnxruntime
    python tests/models/make_torch.py                 # everything
    python tests/models/make_torch.py resnet_basic    # some
    python tests/models/make_torch.py --missing       # what is not there yet

Every network is exported as ``<network>.<exporter>.<shapes>.onnx``:

- exporter ``ts`` (TorchScript) or ``dynamo`` (torch.export);
- shapes ``static``, ``batch`` (batch dynamic) or ``hw`` (batch, height and width dynamic, or the
  length of a signal).

The TorchScript variants differ on purpose in opset, and in whether the exporter folds
BatchNormalization into the convolutions, so that each form of an operator occurs: see VARIANTS.

Weights are random and seeded, and so are all those that a fresh network holds at 0 or 1
(statistics, affine parameters, layer scales): a permutation that is wrong must show.
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from networks import classify, dense, pretrained, sequence  # noqa: E402

OUT = HERE / "torch"

# exporter "ts", per kind of shapes: opset, and whether BatchNormalization is folded
VARIANTS = {"static": (17, True), "batch": (13, False), "hw": (11, True)}


@dataclass(frozen=True)
class Network:
    """How to build a network and what to feed it.

    ``shapes`` are the inputs' shapes; ``free`` says per input which axes the ``hw`` variant
    leaves dynamic besides the batch (none: there is no such variant); ``opset`` is the lowest
    that the TorchScript exporter needs for it; ``gain`` scales
    the weights, less where a network adds branches without normalising them.
    """

    build: Callable[[], nn.Module]
    shapes: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...] = ("y",)
    free: dict[str, dict[int, str]] | None = None
    opset: int = 11
    gain: float = 1.4


HW = {"image": {2: "height", 3: "width"}}


def image(
    build: Callable[[], nn.Module],
    size: tuple[int, ...] = (3, 32, 48),
    outputs: tuple[str, ...] = ("y",),
    hw: bool = True,
    opset: int = 11,
) -> Network:
    """A network with one image as its only input."""
    return Network(build, {"image": (1, *size)}, outputs, HW if hw else None, opset)


NETWORKS: dict[str, Network] = {
    "resnet_basic": image(classify.resnet_basic),
    "resnet_bottleneck": image(classify.resnet_bottleneck),
    "mobilenetv2": image(classify.mobilenetv2),
    "mobilenetv3": image(classify.mobilenetv3, opset=14),
    "efficientnet": image(classify.efficientnet),
    "shufflenetv2": image(classify.shufflenetv2),
    "convnext": image(pretrained.convnext),
    "vit": image(pretrained.vit, hw=False, opset=14),
    "unet_transposed": image(lambda: dense.UNet(False, True), (3, 40, 56)),
    "unet_bilinear": image(lambda: dense.UNet(True, False), (3, 32, 48)),
    "yolov5": image(lambda: dense.YoloV5()),
    "yolov8": image(lambda: dense.YoloV8()),
    "shufflenetv1": image(classify.shufflenetv1),
    "resnext": image(classify.resnext),
    "regnet": image(classify.regnet),
    "densenet": image(classify.densenet),
    "mobileone": image(classify.mobileone),
    "repvgg": image(classify.repvgg),
    "vgg": image(classify.Vgg, (3, 40, 32), hw=False),
    "convnextv2": image(pretrained.convnextv2),
    "swin": image(pretrained.swin, hw=False),
    "swinv2": image(pretrained.swinv2, hw=False, opset=14),
    "mobilevit": image(pretrained.mobilevit, (3, 64, 96), hw=False, opset=14),
    "segformer": image(pretrained.segformer, (3, 64, 96), opset=14),
    "detr": image(pretrained.detr, (3, 64, 96), ("logits", "boxes"), opset=14),
    "levit": Network(pretrained.levit, {"image": (1, 3, 64, 64)}, gain=0.8),
    "cvt": image(pretrained.cvt, opset=12),
    "deeplab": image(dense.DeepLab),
    "ssd": image(dense.Ssd, (3, 48, 40), ("boxes", "scores")),
    "super_resolution": image(dense.SuperResolution, (3, 16, 20)),
    "style_transfer": image(dense.style_transfer, (3, 24, 32)),
    "hrnet": image(dense.HrNet),
    "grouped_transposed": image(dense.GroupedTransposed, (3, 16, 20)),
    "vae_decoder": image(dense.VaeDecoder, (4, 6, 10), opset=14),
    "diffusion_unet": Network(
        dense.DiffusionUNet,
        {"x": (1, 4, 16, 20), "time": (1, 6), "context": (1, 5, 10)},
        free={"x": {2: "height", 3: "width"}},
        opset=14,
    ),
    "crnn": Network(sequence.Crnn, {"line": (1, 1, 16, 44)}, free={"line": {3: "width"}}, opset=14),
    "waveform": Network(sequence.WaveformEncoder, {"wave": (1, 403)}, free={"wave": {1: "time"}}),
    "tcn": Network(sequence.Tcn, {"x": (1, 5, 37)}, free={"x": {2: "time"}}),
    "separation": Network(sequence.Separation, {"x": (1, 1, 96)}, free={"x": {2: "time"}}),
    "video": Network(
        sequence.Video,
        {"clip": (1, 3, 6, 24, 32)},
        free={"clip": {2: "frames", 3: "height", 4: "width"}},
    ),
    "segment3d": Network(
        sequence.Segment3d,
        {"volume": (1, 1, 8, 12, 16)},
        free={"volume": {2: "depth", 3: "height", 4: "width"}},
    ),
}


@torch.no_grad()
def randomise(model: nn.Module, seed: int, gain: float) -> None:
    """Give every parameter and statistic a random value that keeps activations near 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(x: Tensor, scale: float) -> None:
        x.copy_(torch.randn(x.shape, generator=generator) * scale)

    def uniform(x: Tensor, low: float, high: float) -> None:
        x.copy_(torch.rand(x.shape, generator=generator) * (high - low) + low)

    for name, x in model.named_parameters():
        last = name.rsplit(".", 1)[-1]
        if last.startswith("bias") or last == "beta":
            normal(x, 0.2)
        elif "layer_scale" in last or "gamma" in last:
            uniform(x, 0.4, 1.2)
        elif last.startswith("weight") and x.dim() < 2:
            uniform(x, 0.6, 1.4)
        elif last.startswith("weight"):
            normal(x, gain * max(1, x[0].numel()) ** -0.5)
        else:  # tokens, position embeddings and biases, anchors, temperatures
            normal(x, 0.5)
    for name, x in model.named_buffers():
        if name.endswith("running_mean"):
            normal(x, 0.3)
        elif name.endswith("running_var"):
            uniform(x, 0.5, 1.5)
    for module in model.modules():
        if type(module).__name__.endswith("FrozenBatchNorm2d"):
            uniform(module.weight, 0.6, 1.4)
            normal(module.bias, 0.2)
            uniform(module.running_var, 0.5, 1.5)


def feed(network: Network, grow: dict[str, dict[int, int]], seed: int) -> dict[str, Tensor]:
    """Seeded inputs; ``grow`` adds to the sizes of some axes."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in network.shapes.items():
        sizes = [size + grow.get(name, {}).get(axis, 0) for axis, size in enumerate(shape)]
        out[name] = torch.randn(sizes, generator=generator)
    return out


def dynamic_axes(network: Network, shapes: str) -> dict[str, dict[int, str]]:
    """The names of each input's dynamic axes in the variant ``shapes``."""
    axes: dict[str, dict[int, str]] = {name: {} for name in network.shapes}
    if shapes != "static":
        for name in axes:
            axes[name][0] = "batch"
    if shapes == "hw":
        for name, more in (network.free or {}).items():
            axes[name].update(more)
    return axes


def export(name: str, exporter: str, shapes: str, path: Path) -> None:
    """Export one variant and compare it with torch on inputs of other sizes."""
    network = NETWORKS[name]
    torch.manual_seed(0)  # what a constructor draws, such as anchors
    model = network.build().eval()
    randomise(model, sum(map(ord, name)), network.gain)
    axes = dynamic_axes(network, shapes)
    # a dynamic axis is traced at a size above 1, or the exporter takes it for a constant
    args = feed(network, {n: {0: 1} if 0 in a else {} for n, a in axes.items()}, 1)
    common = {
        "input_names": list(network.shapes),
        "output_names": list(network.outputs),
        "external_data": False,
        "verbose": False,
    }
    if exporter == "ts":
        opset, fold = VARIANTS[shapes]
        mode = torch.onnx.TrainingMode
        torch.onnx.export(
            model,
            tuple(args.values()),
            str(path),
            dynamo=False,
            opset_version=max(opset, network.opset),
            dynamic_axes={n: a for n, a in axes.items() if a},
            training=mode.EVAL if fold else mode.PRESERVE,
            **common,
        )
    else:
        torch.onnx.export(
            model,
            tuple(args.values()),
            str(path),
            dynamo=True,
            dynamic_shapes=tuple(a or None for a in axes.values()) if shapes != "static" else None,
            **common,
        )
    slim(path)
    grow = {n: {axis: 2 if axis == 0 else 8 for axis in a} for n, a in axes.items()}
    for seed, sizes in ((2, {}), (3, grow)):
        if shapes == "static" and seed == 3:
            continue
        compare(model, path, feed(network, sizes, seed))


def slim(path: Path) -> None:
    """Drop doc strings and the exporter's notes on nodes; shorten names if the file is large."""
    model = onnx.load(path)

    def clean(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
        graph.doc_string = ""
        del graph.metadata_props[:]
        for item in [*graph.node, *graph.value_info]:
            item.doc_string = ""
            del item.metadata_props[:]
        if isinstance(graph, onnx.GraphProto):
            for value in [*graph.input, *graph.output, *graph.initializer]:
                value.doc_string = ""
                del value.metadata_props[:]
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    clean(attribute.g)

    clean(model.graph)
    for function in model.functions:
        clean(function)
    del model.metadata_props[:]
    if model.ByteSize() > 100_000:
        shorten(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def shorten(graph: onnx.GraphProto) -> None:
    """Cut the scopes off the names of values and nodes: half of a TorchScript export."""
    kept = {x.name for x in [*graph.input, *graph.output]} | {""}
    short = {name: name for name in kept}
    taken = set(kept)

    def cut(name: str) -> str:
        if name not in short:
            base = new = name.rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[-1]
            count = 0
            while new in taken:
                count += 1
                new = f"{base}.{count}"
            taken.add(new)
            short[name] = new
        return short[name]

    def walk(graph: onnx.GraphProto) -> None:
        for value in [*graph.initializer, *graph.value_info, *graph.input, *graph.output]:
            value.name = cut(value.name)
        for node in graph.node:
            node.input[:] = [cut(x) for x in node.input]
            node.output[:] = [cut(x) for x in node.output]
            node.name = f"{node.op_type}/{node.output[0]}"
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)

    walk(graph)


@torch.no_grad()
def compare(model: nn.Module, path: Path, inputs: dict[str, Tensor]) -> None:
    """The file computes what torch does, and its outputs can show an error."""
    expected = model(*inputs.values())
    expected = (expected,) if isinstance(expected, Tensor) else expected
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    for want, have in zip(expected, found, strict=True):
        want = want.numpy()
        if not np.isfinite(have).all() or have.std() < 1e-3 or np.abs(have).max() > 1e4:
            raise ValueError(f"bad range: std {have.std():.3g}, max {np.abs(have).max():.3g}")
        error = np.abs(have - want).max() / np.abs(want).max()
        if have.shape != want.shape or error > 1e-3:
            raise ValueError(f"differs from torch: {have.shape} {want.shape} {error:.2g}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Export the torch test models.")
    parser.add_argument("networks", nargs="*", help="names in NETWORKS; all if none")
    parser.add_argument("--missing", action="store_true", help="skip files that exist")
    parser.add_argument("--trace", action="store_true", help="show the trace of each failure")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    failed = 0
    for name in options.networks or NETWORKS:
        for exporter in ("ts", "dynamo"):
            for shapes in ("static", "batch", "hw") if NETWORKS[name].free else ("static", "batch"):
                path = OUT / f"{name}.{exporter}.{shapes}.onnx"
                if options.missing and path.exists():
                    continue
                try:
                    export(name, exporter, shapes, path)
                    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)
                except Exception as error:
                    failed += 1
                    path.unlink(missing_ok=True)
                    print(f"{path.name}: FAILED {str(error).strip()[:300]}", flush=True)
                    if options.trace:
                        traceback.print_exc()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
