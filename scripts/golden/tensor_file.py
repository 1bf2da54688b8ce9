"""Safetensors files as dictionaries of numpy arrays. Layout: u64 length, JSON header, data; all little-endian."""
import json
import struct

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}


def read(path):
    """(tensors, metadata). Arrays are views of the mapped file: read-only, and paid for when used."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    data = np.memmap(path, mode="r", dtype=np.uint8, offset=0)
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        dtype = np.dtype(DTYPES[entry["dtype"]])
        if end - begin != int(np.prod(entry["shape"], dtype=np.int64)) * dtype.itemsize or end > data.size:
            raise ValueError(f"{path}: tensor {name} of shape {entry['shape']} does not fit its {end - begin} bytes")
        # A copy where an element would not lie on its own multiple; the format does not promise that.
        raw = data[begin:end]
        tensors[name] = (raw.copy() if begin % dtype.itemsize else raw).view(dtype).reshape(entry["shape"])
    return tensors, metadata


def write(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in tensors.items()}
    for name, array in arrays.items():
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())
