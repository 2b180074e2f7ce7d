"""ocfl-py, an independent implementation of OCFL, without its way into S3: that pins what Snakemake pins otherwise."""

import sys
import types

if "s3fs" not in sys.modules:
    absent = types.ModuleType("s3fs")
    absent.S3FileSystem = None
    sys.modules["s3fs"] = absent

import ocfl

__all__ = ["ocfl"]
