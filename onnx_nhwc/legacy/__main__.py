"""``python -m onnx_nhwc.legacy IN.h5 OUT.weights.h5``: the command line of convert_weights."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from onnx_nhwc.passes.errors import ConversionError, UsageError

_DESCRIPTION = """\
Convert HDF5 files of Keras 1 and 2 between backends and between data formats.

Files written under the Theano backend store convolution kernels turned by 180 degrees, and the
rows of a Dense after a Flatten follow the data format. Keras 3 converts neither. An OUT that ends
in .weights.h5 is written as Keras 3 does, any other .h5 as Keras 2; load_weights reads both."""

_EPILOG = """\
exit status:
  0  OUT is written
  1  the file cannot be converted; OUT is as it was
  2  the command is wrong

examples:
  a whole model, which says everything itself:
    python -m onnx_nhwc.legacy model.h5 out.weights.h5 --data-format channels_last
  weights alone, written by Keras 1 under Theano, channels first:
    python -m onnx_nhwc.legacy vgg16.h5 out.h5 --from theano --to tensorflow \\
        --source-data-format channels_first --data-format channels_last \\
        --flatten dense_1=512,7,7
  the same with its architecture, as model.to_json() gave it:
    python -m onnx_nhwc.legacy vgg16.h5 out.h5 --config vgg16.json --data-format channels_last
"""

_BACKENDS = ("theano", "tensorflow", "cntk")
_FORMATS = ("channels_first", "channels_last")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m onnx_nhwc.legacy",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("src", metavar="IN", type=Path, help="an HDF5 file, a whole model or weights alone")
    add("dst", metavar="OUT", type=Path, help="the file to write, .weights.h5 or .h5")
    add("--from", dest="from_backend", choices=_BACKENDS,
        help="the backend that wrote IN (default: what IN says)")  # fmt: skip
    add("--to", dest="to_backend", choices=_BACKENDS, default="tensorflow",
        help="the backend that OUT is for; all of Keras 3 are as tensorflow "
        "(default: %(default)s)")  # fmt: skip
    add("--data-format", choices=_FORMATS,
        help="the data format of the model that reads OUT (default: that of IN)")  # fmt: skip
    add("--source-data-format", choices=_FORMATS,
        help="the data format of IN, where it does not say")  # fmt: skip
    add("--keras-version", choices=("1", "2"), help="which Keras wrote IN, where it does not say")
    add("--config", metavar="FILE.json", type=Path,
        help="the architecture of weights alone, as model.to_json() gives it")  # fmt: skip
    add("--flatten", metavar="NAME=512,7,7", action="append", type=_flatten,
        help="the shape that is flattened before the Dense NAME, in the data format of IN; "
        "'none' if there is none; may be repeated")  # fmt: skip
    add("--class", dest="classes", metavar="NAME=Conv2DTranspose", action="append", default=[],
        type=_pair, help="the class of layer NAME, where its name does not tell; "
        "may be repeated")  # fmt: skip
    add("-q", "--quiet", action="store_true", help="print errors and warnings only")
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.rpartition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def _flatten(text: str) -> tuple[str, tuple[int, ...]] | None:
    if text == "none":
        return None
    name, value = _pair(text)
    try:
        return name, tuple(int(part) for part in value.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{value}' is not a shape such as 512,7,7") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        given = _parser().parse_args(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    options = {k: v for k, v in vars(given).items() if k not in ("src", "dst", "quiet")}
    if given.flatten is not None:
        options["flatten"] = dict(pair for pair in given.flatten if pair is not None)
    options["classes"] = dict(given.classes)
    from onnx_nhwc.legacy import convert_weights

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            done = convert_weights(given.src, given.dst, **options)
    except ConversionError as error:
        print(f"onnx-nhwc: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    for warning in caught:
        print(f"onnx-nhwc: warning: {warning.message}", file=sys.stderr)
    if not given.quiet:
        print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
