"""The encoder of libvlmoe's image tokeniser in eager PyTorch: pictures to codes (BEiT v2, arXiv 2208.06366; names in docs/FORMATS.md)."""
from pathlib import Path

import torch
import torch.nn.functional as F

import run_config
import tensor_file
import vlmoe_torch as vt


def newest(path):
    """A checkpoint folder, or the newest one in a run's folder."""
    steps = sorted(Path(path).glob("step-*"))
    if not steps and not any(Path(path).glob("*.safetensors")):
        raise FileNotFoundError(f"no checkpoint at {path}")
    return steps[-1] if steps else Path(path)


class ImageTokeniser:
    def __init__(self, path, dtype=torch.float32):
        folder = newest(path)
        self.config = run_config.parse((folder / "config.json").read_text(), folder)
        tensors = {name: array for file in ("model", "state") for name, array in tensor_file.read(folder / f"{file}.safetensors")[0].items()}
        self.p = {name: torch.from_numpy(array.copy()).to(dtype) for name, array in tensors.items()}
        self.patches = vt.Model({"norm.weight": torch.zeros(0, dtype=dtype)}, self.config).patches
        self.n_codes = self.p["codebook.code"].shape[0]

    @torch.no_grad()
    def scores(self, pixels):
        """[n P, codes]: cosine of each patch's feature with each code."""
        p, eps, heads = self.p, self.config.model.norm_eps, self.config.tokeniser.heads
        n, per_picture = len(pixels), self.config.model.patches
        x = (vt.linear(p, "patch", self.patches(pixels)) + p["position"]).reshape(n * per_picture, -1)
        sequences = vt.Sequences([torch.arange(n * per_picture).view(n, per_picture).tolist()])
        for l in range(self.config.tokeniser.layers):
            name = f"encoder.{l}"
            x = x + vt.attention(p, name + ".attention", vt.norm(p, name + ".norm1", x, eps), heads, sequences)
            x = x + vt.feed_forward(p, name + ".ffn", vt.norm(p, name + ".norm2", x, eps))
        x = vt.norm(p, "encoder_norm", x, eps)
        feature = vt.linear(p, "to_code.fc2", vt.linear(p, "to_code.fc1", x).tanh()).to(p["codebook.code"].dtype)
        with torch.autocast("cpu", enabled=False):
            return F.normalize(feature, dim=1) @ p["codebook.code"].T

    def codes(self, pixels):
        return self.scores(pixels).argmax(1).view(len(pixels), -1)
