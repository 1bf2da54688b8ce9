#!/usr/bin/python3
"""Stored grids for tests/unit/test_train_transfer.c, resized by PyTorch in f64.

usage: make_resample.py GOLDEN_DIR      writes train_resample.bin there (needs python3-torch)

Records follow each other to the end of the file, little-endian:
  i32 side, i32 out_side, i32 width, f32 from [side, side, width], f64 out [out_side, out_side, width]
"""
import struct
import sys
from pathlib import Path

import numpy as np
import torch

rng = np.random.default_rng(20220314)


def record(side, out_side, width):
    grid = rng.standard_normal((side, side, width)).astype(np.float32)
    image = torch.from_numpy(grid.astype(np.float64)).permute(2, 0, 1)[None]
    out = torch.nn.functional.interpolate(image, (out_side, out_side), mode="bicubic",
                                          align_corners=False)
    return (struct.pack("<3i", side, out_side, width) + grid.tobytes()
            + np.ascontiguousarray(out[0].permute(1, 2, 0).numpy()).tobytes())


def main():
    folder = Path(sys.argv[1])
    sizes = [(1, 1, 3), (1, 4, 2), (2, 3, 2), (4, 7, 1), (14, 24, 1), (7, 4, 2), (5, 1, 2)]
    (folder / "train_resample.bin").write_bytes(b"".join(record(*s) for s in sizes))


main()
