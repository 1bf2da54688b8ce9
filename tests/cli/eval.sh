#!/bin/bash
# vlmoe-eval on a tiny run: its figures against the run's own record and against counts made anew from its examples; features
# against the head's formula, and that they depend on their own item alone; what fails and how.
. "$(dirname "$0")/support.sh"
eval=$BIN/vlmoe-eval
train=$BIN/vlmoe-train
python3 "$SOURCE/tests/support/tiny_data.py" world --bin "$BIN" >.out 2>.err || fail "tiny_data.py"
expect 0 "$train" --config world/tiny.json
run=world/run
newest=$(ls -d "$run"/step-* | tail -n 1)
check() { # the Python program on standard input passes
    python3 - "$@" >.out 2>.err || fail "check of figures"
}

# ---- the tool itself
expect 0 "$eval" --help
said "usage: vlmoe-eval"
expect 0 "$eval" embed --help
said "usage: vlmoe-eval embed"
expect 0 "$eval" --version
said "vlmoe-eval 0."
expect 4 sh -c "'$eval' --help >/dev/full"
expect 2 "$eval"
complained "--config FILE or --checkpoint DIR is missing"

expect 4 "$eval" --checkpoint "$run" --json nowhere/a.json # before any work
complained "nowhere/a.json cannot be written: there is no folder nowhere"
expect 2 "$eval" --checkpoint "$run" --json same --examples same
complained "same is named for two different files"
expect 4 "$eval" embed --checkpoint "$run" --texts world/art/train_text.txt --out nowhere/a.safetensors
complained "there is no folder nowhere"

# ---- figures: of the newest checkpoint, found three ways
expect 0 "$eval" --config world/tiny.json --json a.json --examples a.jsonl
said "held out: 6 images, 6 texts, 6 pairs"
said "words of pairs"
said "block 1 vision"
said "first word"
expect 0 "$eval" --checkpoint "$run" --json b.json --examples b.jsonl
expect 0 "$eval" --checkpoint "$newest/" --json c.json
cmp a.jsonl b.jsonl || fail "examples depend on how the checkpoint was named"
check "$run" <<'END'
import json, math, sys
docs = [json.load(open(f"{name}.json")) for name in "abc"]
for doc in docs:
    for key in ("seconds", "wait_seconds"):
        del doc["held_out"][key]
    del doc["checkpoint"]
assert docs[0] == docs[1] == docs[2], "the same checkpoint gave other figures"
doc = docs[0]

# The run ended with an evaluation of the same samples.
records = [json.loads(line) for line in open(f"{sys.argv[1]}/metrics.jsonl")]
last = [record for record in records if record["kind"] == "eval"][-1]
for key, value in last.items():
    if key not in ("seconds", "wait_seconds"):
        assert doc["held_out"][key] == value, (key, doc["held_out"][key], value)

# Every word figure again, from the examples.
lines = [json.loads(line) for line in open("a.jsonl")]
assert [words["rate"] for words in doc["words"]] == [1.0, 0.5]
for words in doc["words"]:
    mine = [line for line in lines if line["rate"] == words["rate"]]
    assert len(mine) == words["pairs"] == 6
    pieces = sum(len(line["hidden"]) for line in mine)
    assert pieces == words["pieces"]["counted"] and sum(line["words"] for line in mine) == words["words"]["counted"]
    for picture in ("right", "shuffled", "none"):
        right = 0
        for line in mine:
            hits = sum(a == b for a, b in zip(line["hidden"], line[picture]["pieces"]))
            assert hits == line[picture]["pieces_right"] and len(line["hidden"]) == len(line[picture]["pieces"])
            assert hits < len(line["hidden"]) or line[picture]["text"] == line["text"]
            right += hits
        assert words["pieces"][picture] == right / pieces
        nll = sum(line[picture]["nll"] for line in mine) / pieces
        assert math.isclose(nll, words["loss"][picture], rel_tol=1e-12)
    for measure in ("pieces", "words", "first"):
        for other in ("shuffled", "none"):
            gap = words[measure][f"right_minus_{other}"]
            assert gap["difference"] == words[measure]["right"] - words[measure][other]
            assert gap["low"] <= gap["difference"] <= gap["high"]
    for line in mine:
        assert line["shuffled_pair"] != line["pair"]
END

# ---- the constant answer: with every word hidden its targets are the examples' pieces
expect 0 "$eval" --config world/tiny.json --words 1 --json all.json --examples all.jsonl \
    objective.pair_text_mask=1.0 objective.mask_keep=0 objective.mask_random=0
check <<'END'
import collections, json, math
constant = json.load(open("all.json"))["constant"]["pair_text"]
hidden = [piece for line in open("all.jsonl") for piece in json.loads(line)["hidden"]]
count = collections.Counter(hidden)
assert constant["positions"] == len(hidden)
assert math.isclose(constant["right"], max(count.values()) / len(hidden), rel_tol=1e-12)
assert count[constant["piece"]] == max(count.values())
entropy = -sum(n / len(hidden) * math.log(n / len(hidden)) for n in count.values())
assert math.isclose(constant["loss"], entropy, rel_tol=1e-12)
END
# note: a rate that was asked for is evaluated alone, 0 leaves words out
check <<'END'
import json
assert [words["rate"] for words in json.load(open("all.json"))["words"]] == [1.0]
END
expect 0 "$eval" --config world/tiny.json --words 0 --limit 2 --json few.json
said "held out: 2 images, 2 texts, 2 pairs (limited)"
grep -q '"words": \[\]' few.json || fail "--words 0 hides words"
expect 0 "$eval" --config world/tiny.json --best --words 0
said "$run/step-"
expect 0 "$eval" --config world/tiny.json --words 0 optim.lr=1 # a number of training; the checkpoint's model is used as it is
sed 's/"drop_path": 0.2/"drop_path": 0.3/' world/tiny.json >other.json
expect 0 "$eval" --config other.json --checkpoint "$run" --words 0
complained "model.drop_path"

# ---- an image tokeniser
expect 0 "$eval" --config world/tokeniser.json --json tokeniser.json
said "reconstruction"
said "codes used"
check <<'END'
import json
doc = json.load(open("tokeniser.json"))
assert doc["words"] == [] and doc["task"] == "image_tokeniser"
assert 1 <= doc["constant"]["codes_used"] <= doc["constant"]["codes"] == 16
assert 0 < doc["constant"]["reconstruction"] <= 1
END

# ---- features
ls world/art/red_*.png world/art/blue_*.png | sed 's|.*/||' | head -n 7 >world/art/some.txt
sed -n 3p world/art/some.txt >world/art/one.txt
head -n 5 world/art/val_text.txt >texts.txt
sed -n 2p texts.txt >text.txt
sed -n 4p world/art/val_pairs.jsonl >world/art/pair.jsonl
embed() { # OUT ARGS...
    local out=$1
    shift
    expect 0 "$eval" embed --checkpoint "$run" --logits --out "$out" "$@"
}
embed images.st --images world/art/some.txt
said "images.st: 7 items, width 16"
embed image.st --images world/art/one.txt
embed texts.st --texts texts.txt
embed text.st --texts text.txt
embed pairs.st --pairs world/art/val_pairs.jsonl
embed pair.st --pairs world/art/pair.jsonl
for kind in images:world/art/some.txt texts:texts.txt pairs:world/art/val_pairs.jsonl; do
    embed batch.st --"${kind%%:*}" "${kind#*:}" --batch 2
    cmp "${kind%%:*}.st" batch.st || fail "${kind%%:*}: the batch size changes features"
    embed threads.st --"${kind%%:*}" "${kind#*:}" run.threads=2
    cmp "${kind%%:*}.st" threads.st || fail "${kind%%:*}: two threads change features"
done
check "$newest/model.safetensors" <<'END'
import array, json, math, struct, sys
class File:
    def __init__(self, path):
        data = open(path, "rb").read()
        n, = struct.unpack("<Q", data[:8])
        self.header = json.loads(data[8:8 + n])
        self.meta = self.header.pop("__metadata__", {})
        self.bytes = {name: data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]] for name, t in self.header.items()}
    def shape(self, name):
        return self.header[name]["shape"]
    def rows(self, name):
        width = math.prod(self.shape(name)[1:])
        values = array.array({"F32": "f", "I32": "i"}[self.header[name]["dtype"]], self.bytes[name])
        return [values[i:i + width] for i in range(0, len(values), width)]
def same(alone, together, i, n):
    """Every tensor of the file of one item is item i's part of the other file, byte for byte."""
    for name in alone.header:
        if name in ("token", "word_logits", "text_offset"):
            continue
        assert together.shape(name)[0] == n
        assert alone.rows(name)[0] == together.rows(name)[i], name
    if "token" in alone.header:
        offset = [row[0] for row in together.rows("text_offset")]
        assert len(offset) == n + 1 and offset[0] == 0
        for name in ("token", "word_logits"):
            assert together.shape(name)[0] == offset[n]
            assert alone.rows(name) == together.rows(name)[offset[i]:offset[i + 1]], name
images, texts, pairs = File("images.st"), File("texts.st"), File("pairs.st")
assert set(images.header) == {"image_cls", "image_mean", "code_logits"}
assert set(texts.header) == {"text_cls", "text_mean", "word_logits", "token", "text_offset"}
assert set(pairs.header) == set(images.header) | set(texts.header)
assert images.shape("image_cls") == [7, 16] and images.shape("code_logits") == [7, 4, 16]
assert images.meta["format"] == "vlmoe-features-1" and images.meta["step"] == "6"
same(File("image.st"), images, 2, 7)
same(File("text.st"), texts, 1, 5)
same(File("pair.st"), pairs, 3, 6)

# The word head (dense, GELU, norm, decoder; docs/FORMATS.md) on each text's [CLS] is the first row of its logits.
model = File(sys.argv[1])
def linear(x, name):
    bias = model.rows(f"word_head.{name}.bias")
    return [sum(w * v for w, v in zip(row, x)) + b[0] for row, b in zip(model.rows(f"word_head.{name}.weight"), bias)]
for cls, begin in zip(texts.rows("text_cls"), texts.rows("text_offset")):
    x = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in linear(cls, "dense")]
    mean = sum(x) / len(x)
    scale = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-6)
    x = [(v - mean) * scale * g[0] + b[0] for v, g, b in
         zip(x, model.rows("word_head.norm.weight"), model.rows("word_head.norm.bias"))]
    want, got = linear(x, "decoder"), texts.rows("word_logits")[begin[0]]
    size = max(map(abs, want))
    for a, b in zip(want, got):
        # Three sums of 16 terms in f32, and a norm that divides by a deviation: its error grows by scale.
        assert abs(a - b) <= 3 * 16 * 2 ** -24 * max(scale, 1) * max(size, 1), (a, b)
END

# ---- what fails, and how
cp -r "$newest" hurt
printf '\001' | dd of=hurt/model.safetensors bs=1 seek=9000 conv=notrunc status=none
fails() { # CODE WORDS ARGS...
    local code=$1 words=$2
    shift 2
    expect "$code" "$eval" "$@"
    complained "$words"
}
fails 4 "nowhere.json" --config nowhere.json
fails 4 "is not a folder" --config world/tiny.json run.out=nowhere
fails 4 "holds no checkpoint" --checkpoint world/shards
fails 3 "model.safetensors" --config world/tiny.json --checkpoint hurt
fails 2 "model.widht" --config world/tiny.json model.widht=3
fails 2 "neither an option nor section.key=value" --config world/tiny.json more
fails 2 "--words is '1.5'" --config world/tiny.json --words 1.5
fails 2 "--words is ''" --config world/tiny.json --words 0.5,
fails 2 "--limit is '0'" --config world/tiny.json --limit 0
fails 2 "--words needs" --config world/tokeniser.json --words 1
fails 2 "no held-out data" --checkpoint "$run" 'data.val_images=[]' 'data.val_texts=[]' 'data.val_pairs=[]'
fails 4 "nowhere/x.json" --config world/tiny.json --words 0 --json nowhere/x.json
cp world/art/red_circle.png world/art/cut.png
truncate -s -30 world/art/cut.png
echo cut.png >world/art/cut.txt
echo none.png >world/art/none.txt
echo '{"text": "no picture"}' >world/art/half.jsonl
printf 'good\n\377\n' >latin.txt
printf '\n \n' >blank.txt
fails 2 "--checkpoint DIR is missing" embed --texts texts.txt --out x.st
fails 2 "not two" embed --checkpoint "$run" --texts texts.txt --images world/art/some.txt --out x.st
fails 2 "--out FILE is missing" embed --checkpoint "$run" --texts texts.txt
fails 2 "image tokeniser's checkpoint" embed --checkpoint world/tokeniser --images world/art/some.txt --out x.st
fails 3 "cut.txt line 1" embed --checkpoint "$run" --images world/art/cut.txt --out x.st
fails 4 "none.txt line 1" embed --checkpoint "$run" --images world/art/none.txt --out x.st
fails 3 'half.jsonl line 1: the row has no "image"' embed --checkpoint "$run" --pairs world/art/half.jsonl --out x.st
fails 3 "latin.txt line 2" embed --checkpoint "$run" --texts latin.txt --out x.st
fails 3 "lists nothing" embed --checkpoint "$run" --texts blank.txt --out x.st
fails 4 "nowhere.txt" embed --checkpoint "$run" --texts nowhere.txt --out x.st
fails 4 "nowhere/x.st" embed --checkpoint "$run" --texts texts.txt --out nowhere/x.st
[ ! -e x.st ] || fail "a failed embed left a file"
exit 0
