"""Apple's protobuf messages, as coremltools ships them.

They are imported here and nowhere else, because importing coremltools off a Mac warns of every framework that is not
there; those warnings say nothing about a user's model.
"""

from __future__ import annotations

import logging

logging.getLogger("coremltools").setLevel(logging.ERROR)

from coremltools.proto import MIL_pb2, Model_pb2  # noqa: E402

__all__ = ["MIL_pb2", "Model_pb2"]
