#!/bin/bash
# vlmoe-data pack --format: small made-up sets in the field's formats become shards with labels.txt and pictures/, what is wrong
# with them is counted and named, and a failed pack leaves nothing.
. "$(dirname "$0")/support.sh"
data=$BIN/vlmoe-data

picture() { # FILE WIDTH HEIGHT: a grey PPM, whatever its name says
    mkdir -p "$(dirname "$1")"
    { printf 'P6 %d %d 255\n' "$2" "$3"; head -c $(($2 * $3 * 3)) /dev/zero | tr '\0' '\200'; } >"$1"
}
member() { # TAR NAME TEXT
    [ "$(tar xOf "$1" "$2")" = "$3" ] || fail "$1 has in $2: $(tar xOf "$1" "$2")"
}
members() { # TAR NAME...
    local tar=$1
    shift
    [ "$(tar tf "$tar" | tr '\n' ' ')" = "$* " ] || fail "$tar has $(tar tf "$tar")"
}

expect 2 "$data" pack --format nothing --in x --out y
complained "expected one of vqav2, nlvr2, karpathy, imagenet, mnli, glue, beit3, idx"
expect 2 "$data" pack --labels x --in x --out y
complained "--format is needed"
expect 2 "$data" pack --format mnli --in x --out y --missing maybe
complained "--missing is 'maybe'"
expect 2 "$data" pack --format mnli --in x
expect 4 "$data" pack --format mnli --in nowhere --out y
expect 2 "$data" pack --format mnli --in nowhere --labels names.txt --out y
complained "format mnli has no use for a file of classes (names.txt)"
[ ! -e y ] || fail "a set of nothing"

# ---- answers and vqav2: pictures once each, soft labels
votes() { # ANSWER COUNT [ANSWER COUNT]: the annotators
    local list="" i
    while [ $# -gt 0 ]; do
        for i in $(seq "$2"); do list="$list${list:+,}{\"answer\":\"$1\",\"answer_confidence\":\"yes\"}"; done
        shift 2
    done
    echo "[$list]"
}
annotation() { # ID ANSWER VOTES
    echo "{\"question_id\":$1,\"image_id\":$(($1 / 1000)),\"question_type\":\"what\",\"answer_type\":\"other\",\"multiple_choice_answer\":\"$2\",\"answers\":$3}"
}
picture img/val2014/COCO_val2014_000000000007.jpg 4 3
picture img/val2014/COCO_val2014_000000000008.jpg 4 4
picture img/val2014/COCO_val2014_000000000009.jpg 5 3
cat >q.json <<'END'
{"data_subtype":"val2014","questions":[{"image_id":9,"question":"What is on the mat?","question_id":9000},
{"image_id":7,"question":"Why?","question_id":7000},{"image_id":9,"question":"How many?","question_id":9001}]}
END
one=$(annotation 9000 "The Cat" "$(votes cat 7 dog 2 'the cat' 1)")
two=$(annotation 7000 "dog" "$(votes dog 1 bird 9)")
three=$(annotation 9001 "2" "$(votes 2 10)")
echo "{\"annotations\":[$one,$two,$three]}" >a.json
expect 0 "$data" answers --annotations a.json,a.json --min-count 2 --out all.txt
said "all.txt: 3 classes, the answers of 6 in 6 annotations (100.00 %); 0 answers are rarer than 2"
[ "$(tr '\n' ' ' <all.txt)" = "cat dog 2 " ] || fail "answers $(cat all.txt)"
expect 3 "$data" answers --annotations a.json --min-count 2 --out none.txt
complained "none of 3 answers was given at least 2 times"
[ ! -e none.txt ] || fail "classes of nothing"
printf 'cat\ndog\n' >answers.txt
expect 0 "$data" pack --format vqav2 --in q.json --annotations a.json --labels answers.txt --images img --out vqa
said "3 rows read, 3 packed in vqa, 2 classes, 2 pictures used 3 times"
said "1 noted: packed without a label: no answer is a class: 9001"
said "1 noted: a picture that no row names: img/val2014/COCO_val2014_000000000008.jpg"
cmp vqa/labels.txt answers.txt || fail "labels.txt"
members vqa/pictures/00000.tar 000000000.ppm 000000001.ppm
tar xOf vqa/pictures/00000.tar 000000000.ppm | cmp - img/val2014/COCO_val2014_000000000009.jpg || fail "the picture's bytes changed"
members vqa/00000.tar 000000000.txt 000000000.json 000000001.txt 000000001.json 000000002.txt 000000002.json
member vqa/00000.tar 000000000.txt "What is on the mat?"
tar xOf vqa/00000.tar 000000000.json | grep -qF '{"id":9000,"pictures":[0],"labels":[0,1],"scores":[1,0.6],"image_id":9,"answers":["cat",' ||
    fail "json of sample 0: $(tar xOf vqa/00000.tar 000000000.json)"
tar xOf vqa/00000.tar 000000001.json | grep -qF '"pictures":[1],"labels":[1],"scores":[0.3]' || fail "json of sample 1"
tar xOf vqa/00000.tar 000000002.json | grep -qF '"pictures":[0],"labels":[],"scores":[]' || fail "json of sample 2"
expect 0 "$data" verify vqa
expect 0 "$data" verify vqa/pictures
echo "{\"annotations\":[$three,$one,$two]}" >b.json
expect 0 "$data" pack --format vqav2 --in q.json --annotations b.json --labels answers.txt --images img --out again
cmp vqa/00000.tar again/00000.tar || fail "the order of the annotations changes the set"
expect 2 "$data" pack --format vqav2 --in q.json --labels answers.txt --images img --out vqa
complained "holds pictures or labels.txt already"
expect 0 "$data" verify vqa

expect 0 "$data" pack --format vqav2 --in q.json --annotations a.json --labels answers.txt --images img --out first --limit 1
said "1 rows read, 1 packed in first"

# a set in two parts, and annotations of other pictures or another split
expect 0 "$data" pack --format vqav2 --in q.json --annotations a.json --labels answers.txt --images img --out rest --skip 1
said "3 rows read, 1 passed over, 2 packed in rest"
members rest/00000.tar 000000000.txt 000000000.json 000000001.txt 000000001.json
sed 's/"image_id":7/"image_id":8/' a.json >astray.json
expect 3 "$data" pack --format vqav2 --in q.json --annotations astray.json --labels answers.txt --images img --out astray
complained "question 7000 is about picture 7, its annotation about picture 8"
sed 's/{/{"data_subtype":"train2014",/' a.json >other.json
expect 3 "$data" pack --format vqav2 --in q.json --annotations other.json --labels answers.txt --images img --out astray
complained "q.json is of val2014, and other.json of train2014"
[ ! -e astray ] || fail "a set of other pictures"

# ---- a disk that fills up: nothing is left, wherever it happens
for kilobytes in 1 2 5; do # the last has room for the pictures, not for the samples
    expect 4 bash -c "ulimit -f $kilobytes; exec '$data' pack --format vqav2 --in q.json --labels answers.txt --images img --out full"
    [ ! -e full ] || fail "at $kilobytes kB something was left: $(ls -R full)"
done

# ---- killed: what was left is no set, and the next pack clears it
mkdir killed
touch killed/00000.tar.part killed/00001.tar.idx killed/00001.tar.part killed/00001.tar.idx.tmp-7-0
expect 3 "$data" verify killed
complained "killed holds 00000.tar.part: what wrote it did not come to its end"
expect 0 "$data" pack --format vqav2 --in q.json --annotations a.json --labels answers.txt --images img --out killed
[ "$(ls killed | tr '\n' ' ')" = "00000.tar 00000.tar.idx labels.txt pictures " ] || fail "killed holds $(ls killed)"
mv killed/pictures/00000.tar killed/pictures/00000.tar.part
expect 3 "$data" verify killed/pictures

# ---- what is missing is named; nothing is left, or the rest is packed
rm img/val2014/COCO_val2014_000000000007.jpg
head -c 20 img/val2014/COCO_val2014_000000000008.jpg >img/val2014/COCO_val2014_000000000009.jpg
try() { expect "$1" "$data" pack --format vqav2 --in q.json --annotations a.json --labels answers.txt --images img "${@:2}"; }
try 3 --out bad
complained "9000: the picture is damaged: img/val2014/COCO_val2014_000000000009.jpg: PNM picture: pixels end at byte"
complained "--dry-run counts all such rows, --missing skip leaves them out"
[ ! -e bad ] || fail "something was left: $(ls -R bad)"
try 3 --dry-run
said "3 rows read, 2 fit for a set"
said "1 left out: the picture is missing: 7000 (no img/val2014/COCO_val2014_000000000007.jpg)"
complained "1 faults"
picture img/val2014/COCO_val2014_000000000007.jpg 4 3
try 0 --out bad --missing skip
said "3 rows read, 1 packed in bad, 2 classes, 1 pictures used 1 times"
said "2 left out: the picture is damaged: 9000 ("
said "); 9001 ("
members bad/pictures/00000.tar 000000000.ppm
rm -r bad img/val2014/COCO_val2014_000000000007.jpg
try 3 --out bad --missing skip
complained "q.json: no row was left to pack"
said "1 left out: the picture is missing: 7000"
[ ! -e bad ] || fail "something was left: $(ls -R bad)"
mkdir bad
touch bad/mine
try 3 --out bad
[ "$(ls bad)" = mine ] || fail "bad holds $(ls bad)"

# ---- nlvr2: two pictures a row
picture nl/dev/dev-1-0-img0.png 4 3
picture nl/dev/dev-1-0-img1.png 5 3
cat >nl.json <<'END'
{"identifier":"dev-1-0-0","sentence":"Both.","label":"True"}
{"identifier":"dev-1-0-1","sentence":"None.","label":"False"}
END
expect 0 "$data" pack --format nlvr2 --in nl.json --images nl --out nlvr2
said "2 rows read, 2 packed in nlvr2, 2 classes, 2 pictures used 4 times"
member nlvr2/00000.tar 000000001.json '{"id":"dev-1-0-1","pictures":[0,1],"labels":[0],"scores":[1],"identifier":"dev-1-0-1"}'
[ "$(tr '\n' ' ' <nlvr2/labels.txt)" = "False True " ] || fail "labels.txt of nlvr2"
rm nl/dev/dev-1-0-img1.png
expect 3 "$data" pack --format nlvr2 --in nl.json --images nl --out skipped --missing skip --dry-run
said "2 rows read, 0 fit for a set, 2 classes"
said "2 left out: the picture is missing: \"dev-1-0-0\" (no nl/images/dev/dev-1-0-img1.png); \"dev-1-0-1\" ("

# ---- karpathy: all captions of a picture, no classes
picture coco/val2014/x.jpg 4 3
cat >k.json <<'END'
{"images":[{"filepath":"val2014","filename":"x.jpg","imgid":0,"cocoid":9,"split":"test","sentences":[{"raw":"A red ball."},{"raw":"A ball."}]},
{"filepath":"val2014","filename":"y.jpg","imgid":1,"cocoid":10,"split":"val","sentences":[{"raw":"No."}]}],"dataset":"coco"}
END
expect 0 "$data" pack --format karpathy --in k.json --split test --images coco --out karpathy
said "2 rows read, 1 packed in karpathy"
said "1 left out: of another split: 10 (val)"
members karpathy/00000.tar 000000000.ppm 000000000.txt 000000000.1.txt 000000000.json
member karpathy/00000.tar 000000000.json '{"id":9,"image_id":9}'
[ ! -e karpathy/labels.txt ] && [ ! -e karpathy/pictures ] || fail "captions have no classes and share no pictures"
picture coco/y.jpg 3 3
expect 0 "$data" pack --format karpathy --in k.json --split val --images coco --out flat

# ---- imagenet, mnli, glue
picture net/n01/a.JPEG 4 3
picture net/n00/b.JPEG 4 3
expect 0 "$data" pack --format imagenet --in net --out imagenet
members imagenet/00000.tar 000000000.ppm 000000000.json 000000001.ppm 000000001.json
member imagenet/00000.tar 000000001.json '{"id":"n01/a.JPEG","labels":[1],"scores":[1]}'
[ "$(tr '\n' ' ' <imagenet/labels.txt)" = "n00 n01 " ] || fail "labels.txt of imagenet"
echo '{"gold_label":"contradiction","genre":"fiction","pairID":"1n","sentence1":"A man eats.","sentence2":"He sleeps."}' >dev_matched.jsonl
expect 0 "$data" pack --format mnli --in dev_matched.jsonl --out mnli
members mnli/00000.tar 000000000.txt 000000000.1.txt 000000000.json
member mnli/00000.tar 000000000.1.txt "He sleeps."
member mnli/00000.tar 000000000.json '{"id":"1n","labels":[2],"scores":[1],"genre":"fiction","split":"matched"}'
printf 'index\tpairID\tgenre\tsentence1\tsentence2\tgold_label\n0\t1n\tfiction\tA man eats.\tHe sleeps.\tcontradiction\n' >dev_matched.tsv
expect 0 "$data" pack --format glue --in dev_matched.tsv --out glue
cmp mnli/00000.tar glue/00000.tar || fail "the same pair in the two formats"

# ---- idx, gzip or not
printf '\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\3abcdefghijkl' >images
printf '\0\0\10\1\0\0\0\2\7\1' | gzip >labels.gz
expect 0 "$data" pack --format idx --in images --annotations labels.gz --out idx
said "2 rows read, 2 packed in idx, 10 classes"
tar xOf idx/00000.tar 000000001.ppm >one.pgm
[ "$(tail -c 6 one.pgm)" = ghijkl ] || fail "the second picture"
member idx/00000.tar 000000001.json '{"id":1,"labels":[1],"scores":[1]}'
expect 0 "$data" verify idx
gzip images
expect 0 "$data" pack --format idx --in images.gz --annotations labels.gz --out idx2
cmp idx/00000.tar idx2/00000.tar || fail "gzip makes a difference"
head -c 30 images.gz >cut.gz
expect 3 "$data" pack --format idx --in cut.gz --annotations labels.gz --out idx3
complained "cut.gz"
[ ! -e idx3 ] || fail "something was left of a cut file"

# ---- beit3: token ids back to texts, by the model that made them
for i in $(seq 200); do echo "the small dog number $i sees the red ball and the green tree"; done >sentences.txt
expect 0 "$data" vocab --in sentences.txt --size 60 --out text.model
cat >ids.jsonl <<'END'
{"image_path":"x.jpg","text_segment":[0,9,10,2],"labels":[1],"scores":[0.6],"qid":5}
END
printf '{"answer":"no","label":0}\n{"answer":"yes","label":1}\n' >answer2label.txt
picture x.jpg 4 3
mkdir odd
printf '{"answer":"no\\nway","label":0}\n{"answer":"yes","label":1}\n' >odd/answer2label.txt
expect 3 "$data" pack --format beit3 --in ids.jsonl --text-model text.model --labels odd/answer2label.txt --out beit3
complained 'class 0 is called "no\nway", expected UTF-8, not empty and in one line'
expect 2 "$data" pack --format beit3 --in ids.jsonl --out beit3
complained "SentencePiece model is needed"
expect 2 "$data" pack --format beit3 --in ids.jsonl --text-model text.model --out beit3
complained "answer2label.txt"
expect 0 "$data" pack --format beit3 --in ids.jsonl --text-model text.model --labels answer2label.txt --out beit3
cp answer2label.txt vocabulary.json
expect 0 "$data" pack --format beit3 --in ids.jsonl --text-model text.model --labels vocabulary.json --out beit3-again
cmp beit3/labels.txt beit3-again/labels.txt || fail "another name of answer2label.txt gives other classes"
member beit3/00000.tar 000000000.json '{"id":5,"pictures":[0],"labels":[1],"scores":[0.6]}'
[ -n "$(tar xOf beit3/00000.tar 000000000.txt)" ] || fail "no text"
[ "$(tr '\n' ' ' <beit3/labels.txt)" = "no yes " ] || fail "labels.txt of beit3"
sed 's/\[1\]/[7]/' ids.jsonl >bad.jsonl
expect 3 "$data" pack --format beit3 --in bad.jsonl --text-model text.model --labels answer2label.txt --out beit4
complained "5: a label that is no class: 7"
printf '%s\n' '{"image_path":"x.jpg","text_segment":[9],"labels":[1,1],"scores":[0.6,1],"qid":5}' >bad.jsonl
expect 3 "$data" pack --format beit3 --in bad.jsonl --text-model text.model --labels answer2label.txt --out beit4
complained "bad.jsonl byte 0: label 1 is there twice"
printf '%s\n' '{"image_path":"x.jpg","text_segment":[9],"labels":{"a":1},"scores":[1],"qid":5}' >bad.jsonl
expect 3 "$data" pack --format beit3 --in bad.jsonl --text-model text.model --labels answer2label.txt --out beit4
complained 'bad.jsonl byte 0: "labels" and "scores" are not arrays of one length'
for i in $(seq 33); do echo '{"image_path":"x.jpg","text_segment":[9],"image_id":0}'; done >bad.jsonl
expect 3 "$data" pack --format beit3 --in bad.jsonl --text-model text.model --out beit4
complained "more than 32 captions of x.jpg"
sed 's/9,10/9,10000/' ids.jsonl >bad.jsonl
expect 3 "$data" pack --format beit3 --in bad.jsonl --text-model text.model --labels answer2label.txt --out beit4
complained "no id of the text model"
[ ! -e beit4 ] || fail "something was left of bad ids"
cat >captions.jsonl <<'END'
{"image_path":"x.jpg","text_segment":[9],"image_id":0}
{"image_path":"x.jpg","text_segment":[3,10],"image_id":0}
{"image_path":"net/n00/b.JPEG","text_segment":[9],"image_id":1}
END
expect 2 "$data" pack --format beit3 --in captions.jsonl --text-model text.model --labels answer2label.txt --out beit5
complained "captions.jsonl is an index of captions: it has no use for classes"
expect 0 "$data" pack --format beit3 --in captions.jsonl --text-model text.model --out beit5
said "2 rows read, 2 packed in beit5"
said "1 noted: packed with an unknown token in its text: 0"
members beit5/00000.tar 000000000.ppm 000000000.txt 000000000.1.txt 000000000.json 000000001.ppm 000000001.txt 000000001.json
echo '{"image_path":"net/n01/a.JPEG","label":0}' >classes.jsonl
expect 0 "$data" pack --format beit3 --in classes.jsonl --labels imagenet/labels.txt --out beit6
member beit6/00000.tar 000000000.json '{"id":"net/n01/a.JPEG","labels":[0],"scores":[1]}'
picture y.jpg 3 3
echo '{"image_path":"x.jpg","image2_path":"y.jpg","text_segment":[9],"label":1,"identifier":"train-12-3-0"}' >two.jsonl
expect 0 "$data" pack --format beit3 --in two.jsonl --text-model text.model --out beit7
member beit7/00000.tar 000000000.json '{"id":"train-12-3-0","pictures":[0,1],"labels":[1],"scores":[1],"identifier":"train-12-3-0"}'
exit 0
