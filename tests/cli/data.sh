#!/bin/bash
# vlmoe-data: pack, inspect, verify and vocab on small made-up sets, and how each fails.
. "$(dirname "$0")/support.sh"
data=$BIN/vlmoe-data

picture() { # FILE WIDTH HEIGHT: a grey PPM
    { printf 'P6 %d %d 255\n' "$2" "$3"; head -c $(($2 * $3 * 3)) /dev/zero | tr '\0' '\200'; } >"$1"
}

# ---- the tool itself
expect 0 "$data" --help
for command in pack inspect verify vocab; do
    said "  $command"
done
for command in pack inspect verify vocab; do
    expect 0 "$data" $command --help
    said "usage: vlmoe-data $command"
    expect 2 "$data" $command --no-such-option
    complained "vlmoe-data $command"
    expect 2 "$data" $command
    complained "Try 'vlmoe-data $command --help'"
done
expect 2 "$data"
expect 2 "$data" inspekt
complained "did you mean 'inspect'?"
expect 0 "$data" --version
said "vlmoe-data 0."
expect 4 sh -c "'$data' --help >/dev/full"

# ---- pack: every kind of row
mkdir -p art/sub
picture art/a.ppm 4 3
picture art/sub/b.png 5 2 # the name lies
cat >art/list.jsonl <<'END'
{"image": "a.ppm", "text": "a grey square"}
{"image": "sub/b.png", "caption": "caf\u00e9", "id": 7}

{"image": "a.ppm"}
{"text": "words alone"}
{"image": "a.ppm", "texts": ["one", "two", "three"]}
END
expect 0 "$data" pack --in art/list.jsonl --out set
said "5 samples in set: 3 pairs, 1 pictures alone, 1 texts alone; 0 skipped"
[ "$(tar tf set/00000.tar | tr '\n' ' ')" = "000000000.ppm 000000000.txt 000000001.ppm 000000001.txt \
000000001.json 000000002.ppm 000000003.txt 000000004.ppm 000000004.txt 000000004.1.txt 000000004.2.txt " ] ||
    fail "members: $(tar tf set/00000.tar)"
[ "$(tar xOf set/00000.tar 000000001.txt)" = "café" ] || fail "text of sample 1"
tar xOf set/00000.tar 000000001.json | grep -q '"id": 7' || fail "extra fields are lost"
tar xOf set/00000.tar 000000000.ppm | cmp - art/a.ppm || fail "the picture's bytes changed"
expect 0 "$data" pack --in art/list.jsonl --out again
cmp set/00000.tar again/00000.tar && cmp set/00000.tar.idx again/00000.tar.idx || fail "not reproducible"
expect 2 "$data" pack --in art/list.jsonl --out set
complained "holds 00000.tar already"

# ---- inspect and verify
expect 0 "$data" inspect --first 2 set
said "5 samples in 1 shards (1 with an index)"
said "pairs 3, pictures alone 1, texts alone 1, neither 0, with json 1"
said "4 .. 5, mean 4.2 pixels"
said 'sample 1 "000000001"'
said "text: café"
expect 0 "$data" verify set
said "5 samples in 1 shards, 0 faults"

# ---- plain text, limits, the image root
printf '\357\273\277first\r\n\n   \nsecond line\nthird' >words.txt
expect 0 "$data" pack --in words.txt --out words
said "3 samples"
[ "$(tar xOf words/00000.tar 000000000.txt)" = "first" ] || fail "the byte order mark or the carriage return stays"
expect 0 "$data" pack --in words.txt --out two --limit 2
said "2 samples"
mkdir lists
cp art/list.jsonl lists
expect 0 "$data" pack --in lists/list.jsonl --images art --out rooted
cmp set/00000.tar rooted/00000.tar || fail "--images"

# ---- bad rows: named by line, nothing left; or skipped
head -c 20 art/a.ppm >art/cut.ppm
bad() { # ROW WORDS [CODE]
    printf '{"text": "good"}\n%s\n' "$1" >art/bad.jsonl
    expect "${3:-3}" "$data" pack --in art/bad.jsonl --out bad
    complained "art/bad.jsonl line 2"
    complained "$2"
    [ -z "$(ls bad)" ] || fail "something was left: $(ls bad)"
    expect 0 "$data" pack --in art/bad.jsonl --out bad --skip-bad
    complained "skipped: art/bad.jsonl line 2"
    said "1 samples in bad"
    said "1 skipped"
    rm -r bad
}
bad '{"image": "cut.ppm", "text": "x"}' "PNM picture: pixels end at byte"
bad '{"image": "none.ppm", "text": "x"}' "none.ppm" 4
bad '{"image": "list.jsonl", "text": "x"}' "not a picture"
bad '{"image": "a.ppm", "text": ""}' "empty text"
bad '{"image": "a.ppm", "caption": " \n "}' "empty text"
bad '{"image": 3}' '"image" is a number'
bad '{"text": ["x"]}' "a text is an array"
bad '{"texts": "x"}' '"texts" is a string'
bad '{"id": 1}' 'neither "image" nor "text"'
bad '[1]' "not an object"
bad '{"text": "x"' "row line 1"
bad "$(printf '{"text": "\377"}')" "UTF"
printf 'good\n\377\n' >latin.txt
expect 3 "$data" pack --in latin.txt --out latin
complained "latin.txt line 2: text is not UTF-8 at its byte 0"
: >empty.txt
expect 3 "$data" pack --in empty.txt --out empty
expect 4 "$data" pack --in nowhere.jsonl --out empty
expect 2 "$data" pack --in words.txt --out x --limit 0
complained "--limit is '0'"
expect 3 "$data" pack --in art/list.jsonl --out small --max-pixels 11
complained "line 1"
complained "4 x 3 = 12 pixels, more than the limit of 11"

# ---- a labelled set: labels are classes, pictures lie in pictures/
cat >art/labelled.jsonl <<'END'
{"text": "is it grey?", "labels": [1], "pictures": [0]}
{"text": "is it green?", "labels": [], "pictures": [1]}
{"text": "is it red?", "labels": [2], "pictures": [0]}
{"text": "is it round?", "labels": [0], "pictures": [2]}
END
printf '%s\n' '{"image": "a.ppm"}' '{"image": "sub/b.png"}' >art/pictures.jsonl
expect 0 "$data" pack --in art/labelled.jsonl --out labelled
expect 0 "$data" pack --in art/pictures.jsonl --out labelled/pictures
printf 'no\nyes\n' >labelled/labels.txt
expect 3 "$data" verify labelled
said 'sample "000000002" at byte '
said "label 2 of its json: labels.txt has 2 classes"
said "its json names picture 2, but pictures/ holds 2"
said "4 samples in 1 shards, 2 faults"
said "2 pictures in pictures/"
printf 'no\nyes\nperhaps\n' >labelled/labels.txt
expect 3 "$data" verify labelled
said "3 classes; 3 samples have a label, 1 have none"
said "4 samples in 1 shards, 1 faults"
printf 'no\nno\n' >labelled/labels.txt
expect 3 "$data" verify labelled
complained 'the class "no" is there twice'

# ---- damage
damage() { # FILE OFFSET BYTE(octal)
    printf "\\$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
cp -r set hurt
damage hurt/00000.tar 514 041 # the first picture's width: "P6 4" to "P6!4"
expect 3 "$data" verify hurt
said "its index says"
said 'sample "000000000" at byte 0: '
said "2 faults"
expect 0 "$data" verify set
truncate -s -512 hurt/00000.tar
expect 3 "$data" inspect hurt
complained "made for a tar of"
rm hurt/00000.tar.idx
expect 3 "$data" verify hurt
complained "the file is cut"
expect 4 "$data" inspect nowhere.tar
expect 2 "$data" inspect art
complained "no *.tar"

# ---- sets of other programs: GNU and pax archives with long names
long=$(printf 'n%.0s' $(seq 150))
mkdir other
cp art/a.ppm "other/$long.ppm"
echo "a long name" >"other/$long.txt"
for format in gnu pax; do
    tar --format=$format -cf $format.tar other/"$long".ppm other/"$long".txt
    expect 0 "$data" verify $format.tar
    said "1 samples in 1 shards, 0 faults"
done

# ---- vocab
for i in $(seq 200); do
    echo "the small dog number $i sees the red ball and the green tree"
done >sentences.txt
expect 0 "$data" pack --in sentences.txt --out sentences
expect 0 "$data" vocab --in sentences --size 60 --out a.model
said "a.model: 55 pieces, fewer than" # all that 200 sentences of one kind give: what is there, not what was asked for
expect 0 "$data" vocab --in sentences.txt --size 60 --out b.model
cmp a.model b.model || fail "shards and plain text of the same sentences give different models"
expect 0 "$data" vocab --size 60 --out c.model --in sentences.txt set
[ ! -e c.model.lines ] || fail "the extracted lines were left"
expect 2 "$data" vocab --in rows.jsonl --size 60 --out d.model
complained "rows.jsonl is a manifest"
expect 4 "$data" vocab --in nowhere.txt --size 60 --out d.model
[ ! -e d.model ] || fail "a model of nothing"
exit 0
