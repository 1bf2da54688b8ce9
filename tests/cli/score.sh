#!/bin/bash
# vlmoe-eval score: files of every form against scores counted by hand, several seeds, what is missing, and how bad files are refused.
# Against plain code on many random predictions: scripts/show/scores, here on a few.
. "$(dirname "$0")/support.sh"
eval=$BIN/vlmoe-eval
score() { # CODE TASK ARGUMENT...
    local code=$1
    shift
    expect "$code" "$eval" score --task "$@"
}
figure() { # FILE NAME VALUE: of the first file of predictions
    python3 - "$@" <<'END' >.out 2>.err || fail "figure '$2' of $1"
import json, sys
value = json.load(open(sys.argv[1]))["files"][0]["figures"][sys.argv[2]]["value"]
assert abs(value - float(sys.argv[3])) < 1e-9, value
END
}

# ---- the command itself
expect 0 "$eval" score --help
said "usage: vlmoe-eval score"
expect 2 "$eval" score
complained "--task and --results are needed"
score 2 vqaa --results x --annotations y
complained "there are vqa, nlvr2"
score 2 vqa --results x
complained "--annotations is needed"
score 4 vqa --results none.json --annotations none.json
complained "none.json"

# ---- VQA
cat >annotations.json <<'END'
{"info": {"annotations": [1]}, "annotations": [
 {"question_id": 1, "image_id": 1, "answer_type": "other", "question_type": "what is", "answers": [
  {"answer": "The T-shirt."}, {"answer": "t shirt"}, {"answer": "hat"}, {"answer": "hat"}]},
 {"question_id": 2, "image_id": 1, "answer_type": "yes/no", "question_type": "is it", "answers": ["Yes", "Yes", "Yes", "Yes"]},
 {"question_id": 3, "image_id": 1, "answer_type": "number", "question_type": "how many", "answers": [
  {"answer": "two"}, {"answer": "2"}, {"answer": "2."}, {"answer": "3"}]}]}
END
echo '[{"question_id": 3, "answer": "2"}, {"question_id": 1, "answer": "t-shirt"}, {"question_id": 2, "answer": "yes"}]' >vqa.json
score 0 vqa --results vqa.json --annotations annotations.json --json a.json
said "answer type: number"
figure a.json "answer type: number" 75  # (2/3 + 2/3 + 2/3 + 1) / 4
figure a.json "answer type: other" 50   # (1/3 + 1/3 + 2/3 + 2/3) / 4
figure a.json "question type: is it" 0  # all annotators agree on "Yes", and case counts then
figure a.json overall 41.67
printf '{"question_id": "%s", "answer": "2"}\n' 1 2 >lines.json
score 3 vqa --results lines.json --annotations annotations.json
complained '1 without a prediction, the first is "3"'
score 0 vqa --results lines.json --annotations annotations.json --partial --json a.json
said "1 without a prediction counted as wrong"
figure a.json overall 0
echo '[{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": "b"}]' >twice.json
score 3 vqa --results twice.json --annotations annotations.json
complained 'two predictions for "1"'
echo '[{"question_id": 1, "answer": 5}]' >number.json
score 3 vqa --results number.json --annotations annotations.json
complained "question_id and a text as answer"
echo '[]' >empty.json
score 3 vqa --results empty.json --annotations annotations.json
complained "no predictions"
score 3 vqa --results vqa.json --annotations annotations.json --annotations annotations.json
complained '"1" is there twice'

# ---- NLVR2, by several seeds
cat >dev.jsonl <<'END'
{"identifier": "dev-1-0-0", "sentence": "x", "label": "True"}
{"identifier": "dev-1-1-0", "sentence": "x", "label": "False"}
{"identifier": "dev-2-0-0", "sentence": "y", "label": "False"}
{"identifier": "dev-2-0-1", "sentence": "z", "label": "False"}
END
printf 'dev-1-0-0,True\ndev-1-1-0,True\ndev-2-0-0,false\n"dev-2-0-1","False"\n' >one.csv
sed s/dev-1-1-0,True/dev-1-1-0,False/ one.csv >two.csv
score 0 nlvr2 --results one.csv --results two.csv --annotations dev.jsonl --json a.json
said "2 files of predictions: mean and standard deviation"
figure a.json accuracy 75
figure a.json consistency 66.67
python3 -c "
import json, statistics
seeds = json.load(open('a.json'))['seeds']
assert seeds['accuracy'] == {'mean': 87.5, 'deviation': statistics.stdev([75, 100])}, seeds" || fail "spread over seeds"
echo 'dev-9-0-0,True' >>one.csv
score 3 nlvr2 --results one.csv --annotations dev.jsonl
complained '1 predictions for what the annotations lack, the first is "dev-9-0-0"'
score 0 nlvr2 --results one.csv --annotations dev.jsonl --partial
said "1 predictions left out"
echo dev-1-0-0 >bare.csv
score 3 nlvr2 --results bare.csv --annotations dev.jsonl
complained "bare.csv line 1: expected ID,ANSWER"
echo '{"identifier": "dev-1-0-0", "label": "maybe"}' >odd.jsonl
score 3 nlvr2 --results two.csv --annotations odd.jsonl
complained 'the label "True" or "False"'
sed s/dev-1-0-0,True/dev-1-0-0,yes/ two.csv >yes.csv
score 3 nlvr2 --results yes.csv --annotations dev.jsonl
complained '"dev-1-0-0" is answered by "yes", not True or False'
score 2 nlvr2 --results two.csv --annotations dev.jsonl --fold 2
complained "--fold is for task retrieval"

# ---- NLI: MultiNLI's lines of JSON and GLUE's tsv
cat >dev_matched.jsonl <<'END'
{"pairID": "1n", "genre": "fiction", "gold_label": "neutral"}
{"pairID": "2e", "genre": "travel", "gold_label": "-"}
{"pairID": "3e", "genre": "travel", "gold_label": "entailment"}
END
printf 'index\tpairID\tgenre\tsentence1\tlabel1\tgold_label\n0\t7c\tfacetoface\tsay "x\tneutral\tcontradiction\n' >dev_mismatched.tsv
printf 'pairID,gold_label\n1n,neutral\n3e,neutral\n7c,contradiction\n' >nli.csv
score 0 nli --results nli.csv --annotations dev_matched.jsonl --annotations dev_mismatched.tsv --json a.json
said "1 without an agreed label left out"
figure a.json "accuracy: matched" 50
figure a.json "accuracy: mismatched" 100
figure a.json "genre: travel" 0
figure a.json "entailment answered neutral" 100
printf 'index\tprediction\n0\tneutral\n1\tentailment\n' >glue.tsv # rows of those that have a label
score 0 nli --results glue.tsv --annotations dev_matched.jsonl --json a.json
figure a.json "accuracy: matched" 100
printf '0,neutral\n' >maybe.csv
score 3 nli --results maybe.csv --annotations dev_matched.jsonl
complained "2 without a prediction"
printf '1n,maybe\n3e,neutral\n' >maybe.csv
score 3 nli --results maybe.csv --annotations dev_matched.jsonl
complained '"1n" is answered by "maybe"'
printf 'pairID\tgold\n' >bad.tsv
score 3 nli --results nli.csv --annotations bad.tsv
complained "names no columns pairID and gold_label"

# ---- classification: a folder of classes and a list
mkdir -p val/n01 val/n02 val/n03
touch val/n01/a.JPEG val/n01/b.JPEG val/n02/c.JPEG val/n03/d.png
printf '{"image": "val/%s", "labels": ["%s", "n02", "n03"]}\n' n01/a.JPEG n01 n01/b.JPEG n02 n02/c.JPEG n09 n03/d.png n01 >classes.jsonl
score 3 classify --results classes.jsonl --annotations val/n01 # holds no folder
complained "no pictures"
score 0 classify --results classes.jsonl --annotations val --json a.json
figure a.json top-1 25
figure a.json top-5 75
figure a.json 'always "n01"' 50
figure a.json "n01 taken for n02" 50
printf 'ImageId,PredictionString\na,n01 1 2 3 4\nb,n01 1 2 3 4\n' >list.csv
printf 'a,n01\nb.JPEG,n02\n' >classes.csv
score 0 classify --results classes.csv --annotations list.csv --json a.json
figure a.json top-1 50
printf 'a,x01\nb,x02\n' >strange.csv
score 0 classify --results strange.csv --annotations list.csv --json a.json
said '2 answers are no class of the annotations, the first is "x01"'
printf 'a golden retriever\nb golden eagle\n' >named.txt
sed 's/ /,/' named.txt >named.csv
score 0 classify --results named.csv --annotations named.csv --json a.json
figure a.json top-1 100
figure a.json "chance of 2 classes" 50
score 0 classify --results named.csv --annotations named.txt --json a.json
figure a.json top-1 100
printf '\357\273\277image,label\na,n01\nb,n02\n' >marked.csv # a byte order mark, and a heading
score 0 classify --results classes.csv --annotations marked.csv --json a.json
figure a.json top-1 100
score 0 classify --results marked.csv --annotations classes.csv --json a.json
figure a.json top-1 100
printf 'a,n09,n08,n07,n06,n01,n05\nb,n09,n08,n07,n06,n02,n05\n' >six.csv # the sixth is one too many
printf 'a n01\nb n02\n' >two.txt
score 0 classify --results six.csv --annotations two.txt --json a.json
figure a.json top-5 100
mkdir -p twice/cat twice/dog twice/.git
touch twice/cat/1.jpg twice/dog/1.jpg twice/dog/.hidden twice/.git/x
printf '{"image": "%s/1.jpg", "labels": ["%s"]}\n' cat cat dog cat >twice.jsonl
score 0 classify --results twice.jsonl --annotations twice --json a.json
figure a.json top-1 50
printf '1,cat\n' >twice.csv
score 3 classify --results twice.csv --annotations twice
complained '2 without a prediction, the first is "cat/1"'
printf 'a 0\nb 0\n' >list.txt
score 0 classify --results classes.csv --annotations list.txt
said "top-1                                          0.00"

# ---- retrieval
python3 - <<'END'
import struct
def npy(name, rows, columns, values, kind="<f4"):
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    letter = "f" if kind == "<f4" else "d"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"<{len(values)}{letter}", *values))
values = [.1, .9, .8, .2, .5, .6, .4, .7]
npy("scores.npy", 2, 4, values)
npy("double.npy", 2, 4, values, "<f8")
npy("near.npy", 2, 2, [.75 + 1e-8, .75, .75, .75 + 1e-8], "<f8")
npy("large.npy", 2, 2, [2e300, 1e300, 1e300, 2e300], "<f8")
npy("uneven.npy", 2, 3, values[:6])
npy("short.npy", 2, 4, values[:6])
npy("nan.npy", 2, 4, values[:7] + [float("nan")])
END
score 0 retrieval --results scores.npy --json a.json # texts 0 and 1 are picture 0's
figure a.json "texts for pictures R@1" 100
figure a.json "pictures for texts R@1" 50
score 0 retrieval --results double.npy --json b.json
sed s/double/scores/ b.json | cmp - a.json || fail "doubles are scored otherwise"
for file in near large; do # equal, or infinite, as single precision
    score 0 retrieval --results $file.npy --json b.json
    figure b.json "mean of six" 100
done
printf '%s\n' '0	a' '1	b' '1	 a ' '0	c' >texts.tsv # text 2 has the words of text 0
score 0 retrieval --results scores.npy --annotations texts.tsv --fold 1 --json a.json
figure a.json "texts for pictures R@1" 0
figure a.json "texts for pictures mean rank" 2
figure a.json "pictures for texts R@1" 50 # 0 and 2 are relevant to both
figure a.json "folds, pictures for texts R@1" 100
score 3 retrieval --results uneven.npy
complained "not equally many"
score 3 retrieval --results short.npy
complained "its size does not fit [2, 4]"
score 6 retrieval --results nan.npy
complained "nan.npy: the score of picture 1 and text 3 is NaN"
score 3 retrieval --results texts.tsv
complained "not a matrix in NumPy's format"
printf '0\ta\n7\tb\n0\tc\n1\td\n' >beyond.tsv
score 3 retrieval --results scores.npy --annotations beyond.tsv
complained "beyond.tsv: text 1 belongs to picture 7 of 2"
printf '0\ta\n0\tb\n0\tc\n0\td\n' >beyond.tsv
score 3 retrieval --results scores.npy --annotations beyond.tsv
complained "beyond.tsv: picture 1 has no text"
head -n 3 texts.tsv >few.tsv
score 3 retrieval --results scores.npy --annotations few.tsv
complained "3 lines for 4 texts"
score 2 retrieval --results scores.npy --fold 3
complained "folds of 3"

score 2 retrieval --results scores.npy --partial
complained "is a matrix of all scores"

# ---- retrieval by lists of the best: three pictures, five captions, two of which have the same words
cat >lists.jsonl <<'END'
{"image": 7, "captions": ["7#1", "7#0", "x#0", "x#1", "b.jpg#0"]}
{"image": "x", "captions": ["b.jpg#0", "7#1", "7#0", "x#1", "x#0"], "scores": [5, 4, 3, 2, 1], "together": 2}
{"image": "b.jpg", "captions": ["x#0", "7#1", "7#0", "x#1", "b.jpg#0"]}
{"caption": "7#0", "of": 7, "text": "a ball", "images": ["x", 7, "b.jpg"]}
{"caption": "7#1", "of": 7, "text": "red", "images": ["x", "b.jpg", 7]}
{"caption": "x#0", "of": "x", "text": " a ball ", "images": [7, "x", "b.jpg"]}
{"caption": "x#1", "of": "x", "text": "blue", "images": ["b.jpg", "7", "x"]}
{"caption": "b.jpg#0", "of": "b.jpg", "text": "a sea", "images": ["b.jpg", "x", 7]}
END
printf '%s\n' '7	a ball' 'x	a ball' '7	red' 'x	blue' 'b.jpg	a sea' >names.tsv
lists() { score "$1" retrieval --results "$2" "${@:3}" --json a.json; }
for more in "" "--annotations names.tsv"; do
    lists 0 lists.jsonl $more
    figure a.json "texts for pictures R@1" 33.333333333333336  # 7; x at the third place by the words of 7#0
    figure a.json "texts for pictures R@5" 100
    figure a.json "pictures for texts R@1" 60 # 7#0 and x#0 by each other's picture, b.jpg#0
    figure a.json "pictures for texts R@5" 100
    figure a.json "mean of six" 82.22222222222223
done
lists 2 lists.jsonl --fold 1
complained "need the matrix of scores"
sed 's/, "b.jpg#0"\]/]/' lists.jsonl >short.jsonl
lists 3 short.jsonl
complained "a list of 4 candidates, and R@10 needs the best 5"
sed 's/"x#1", "b.jpg#0"\]/"x#1", "b.jpg#1"]/' lists.jsonl >alien.jsonl
lists 3 alien.jsonl
complained '"b.jpg#1" is no caption of alien.jsonl'
sed 's/\["x", 7, /["x", "x", /' lists.jsonl >double.jsonl
lists 3 double.jsonl
complained '"x" stands twice in the list'
(cat lists.jsonl && sed -n 1p lists.jsonl) >twice.jsonl
lists 3 twice.jsonl
complained 'two lists for "7"'
(cat lists.jsonl && sed -n 4p lists.jsonl) >twice.jsonl
lists 3 twice.jsonl
complained 'two captions are called "7#0"'
sed 2d lists.jsonl >less.jsonl
lists 3 less.jsonl
complained "1 pictures and 0 captions of less.jsonl have no list"
lists 0 less.jsonl --partial
said "1 pictures and 0 captions without a list counted as not found"
figure a.json "texts for pictures R@5" 66.66666666666667
(cat lists.jsonl && echo '{"image": 8, "captions": []}') >more.jsonl
lists 3 more.jsonl
complained '1 lists for what more.jsonl lacks, the first is "8"'
sed 's/"of": 7, "text": "red"/"of": "x", "text": "red"/' lists.jsonl >other.jsonl
lists 3 other.jsonl --annotations names.tsv
complained 'the caption is of "x" here, but not in names.tsv'
sed 's/, "text": "red"//' lists.jsonl >bare.jsonl
lists 3 bare.jsonl
complained "a caption needs"
lists 0 bare.jsonl --annotations names.tsv
echo '{"image": 7}' >none.jsonl
lists 3 none.jsonl
complained "no captions in it"
lists 3 lists.jsonl --annotations dev.jsonl
complained "dev.jsonl line 1: expected a picture's name, a tab, a caption"

# ---- against plain code
python3 "$SOURCE/scripts/golden/check_scores.py" --eval "$eval" --folder . --n 400 --seed 5 >.out 2>.err || fail "check_scores.py"
said "short: []"
