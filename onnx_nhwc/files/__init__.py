"""Models on disk: what is read and written, by which suffix, without holding the weights.

Imports the compiler's errors and its tidying; nothing else of this package.
"""

from onnx_nhwc.files.models import Staged, check_destination, from_proto, read, staged

__all__ = ["Staged", "check_destination", "from_proto", "read", "staged"]
