"""``python -m onnx_nhwc`` is the same as ``onnx-nhwc``."""

import sys

from onnx_nhwc.optimize import main

sys.exit(main())
