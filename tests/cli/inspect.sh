#!/bin/bash
# vlmoe-inspect on a tiny run, a step dump and made-up tensors: counts, figures and loads against the files themselves.
. "$(dirname "$0")/support.sh"
inspect=$BIN/vlmoe-inspect
train=$BIN/vlmoe-train
python3 "$SOURCE/tests/support/tiny_data.py" world --bin "$BIN" >.out 2>.err || fail "tiny_data.py"
expect 0 "$train" --config world/tiny.json --dump-step dump.st run.steps=1
run=world/run
newest=$(ls -d "$run"/step-* | tail -n 1)

expect 0 "$inspect" --help
said "usage: vlmoe-inspect"
expect 0 "$inspect" --version
expect 2 "$inspect"
expect 2 "$inspect" "$run" --tensors --config
complained "at a time"
expect 2 "$inspect" "$run" --limit 3
complained "go with --routing"

# ---- a checkpoint
expect 0 "$inspect" "$run"
said "task pretrain, step 1 of 1"
said "every checksum matches"
said "blocks.*.ffn_v.experts"
said "image_tokeniser.encoder.*.attention"
bytes=$(stat -c %s "$newest/model.safetensors")
said "$bytes bytes"
python3 - "$newest/model.safetensors" "$work/.out" <<'END' || fail "parameter counts"
import json, math, struct, sys
data = open(sys.argv[1], "rb").read()
header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
header.pop("__metadata__", None)
lines = [line.split() for line in open(sys.argv[2]) if " tensors " in line]
groups = {line[0]: (int(line[1]), int(line[3])) for line in lines}
experts = [t["shape"] for name, t in header.items() if name.startswith("blocks.") and ".ffn_t.experts." in name]
assert groups["blocks.*.ffn_t.experts"] == (len(experts), sum(map(math.prod, experts)))
together = groups.pop("together")
assert together == (len(header), sum(math.prod(t["shape"]) for t in header.values()))
assert together == tuple(map(sum, zip(*groups.values())))
END
expect 0 "$inspect" "$newest" --config
python3 -c 'import json, sys; c = json.load(open(sys.argv[1])); assert c["model"]["width"] == 16' "$work/.out" || fail "--config"
expect 0 "$inspect" "$run" --tensors
said "word_embedding.weight"
said "codebook.code"
expect 0 "$inspect" world/tokeniser
said "task image_tokeniser, step 3 of 3"

# ---- figures of a tensor, and a file with a NaN
python3 - <<'END'
import json, struct
values = [1.0, float("nan"), -2.0, 4.0, float("inf"), 0.25]
header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "b": {"dtype": "I32", "shape": [2], "data_offsets": [24, 32]},
          "none": {"dtype": "F32", "shape": [0, 3], "data_offsets": [32, 32]}}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open("made.st", "wb").write(struct.pack("<Q", len(text)) + text + struct.pack("<6f2i", *values, -3, 7))
END
expect 0 "$inspect" made.st
said "[2, 3]"
said "3 tensors, 32 bytes"
expect 0 "$inspect" made.st --tensors
line() { # NAME: its line, single blanks
    sed -nE "s/^ +($1 .*)/\1/p" "$work/.out" | tr -s ' '
}
# mean 0.8125, deviation of (1, -2, 4, 0.25): sqrt((1 + 4 + 16 + 0.0625) / 4 - 0.8125^2) = 2.14604
[ "$(line a)" = "a F32 [2, 3] 0.8125 2.146 -2 4 1 and 1 infinite" ] || fail "figures of a: $(line a)"
[ "$(line b)" = "b I32 [2] 2 5 -3 7 0" ] || fail "figures of b: $(line b)"
[ "$(line none)" = "none F32 [0, 3] nan nan nan nan 0" ] || fail "figures of none: $(line none)"

# ---- a step dump
expect 0 "$inspect" dump.st
said "format: vlmoe-step-1"
said "group.1/losses"
expect 0 "$inspect" dump.st --config
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["run"]["steps"] == 1' "$work/.out" || fail "config of a dump"

# ---- routing: the loads of the bars are those of an evaluation
expect 0 "$inspect" "$run" --routing
said "block 1, vision"
cp "$work/.out" routing.txt
expect 0 "$BIN/vlmoe-eval" --checkpoint "$run" --words 0 --json eval.json
python3 - <<'END' || fail "loads"
import json
layers = json.load(open("eval.json"))["held_out"]["routing"]
found = []
for line in open("routing.txt"):
    part = line.split()
    if line.startswith("block"):
        found.append([])
    elif len(part) > 2 and part[0].isdigit():
        found[-1].append(int(part[1]))
assert found == [layer["load"] for layer in layers], found
for layer, load in zip(layers, found):
    assert sum(load) == layer["tokens"] > 0 # one expert a token
END
expect 0 "$inspect" "$run" --routing moe.capacity_factor_eval=0.5
grep -qE 'dropped [1-9]' "$work/.out" || fail "half the room drops nothing"
expect 0 "$inspect" "$run" --routing --data world/tiny.json --limit 2
said "routing of 6 held-out samples"

# ---- what fails, and how
expect 4 "$inspect" nowhere
expect 4 "$inspect" world/shards
expect 2 "$inspect" made.st --routing
expect 2 "$inspect" world/tokeniser --routing
complained "no experts"
expect 3 "$inspect" world/tiny.json
expect 3 "$inspect" made.st --config
cp -r "$newest" hurt
printf '\001' | dd of=hurt/model.safetensors bs=1 seek=9000 conv=notrunc status=none
expect 3 "$inspect" hurt
said "model.safetensors"
complained "model.safetensors"
truncate -s -8 hurt/model.safetensors
expect 3 "$inspect" hurt
rm hurt/state.json
expect 3 "$inspect" hurt
expect 4 sh -c "'$inspect' made.st >/dev/full"
exit 0
