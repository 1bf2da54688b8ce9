"""Plain implementations of the field's scores, from their rules, for check_scores.py to hold vlmoe-eval score against. Nothing here
is quick, and nothing is shared with the C code. Sources of the rules: src/metric/metric_*.h."""
import re
import statistics

# What the official list of VQA v2 replaces (four more keys hold a capital and never match lower case).
CONTRACTIONS = dict(pair.split("=") for pair in """
    'ow'sat='ow's'at  'ows'at='ow's'at  ow's'at='ow's'at  twas='twas  aint=ain't  arent=aren't  cant=can't  couldve=could've
    couldnt=couldn't  couldn'tve=couldn't've  couldnt've=couldn't've  didnt=didn't  doesnt=doesn't  dont=don't  hadnt=hadn't
    hadn'tve=hadn't've  hadnt've=hadn't've  hasnt=hasn't  havent=haven't  hed=he'd  he'dve=he'd've  hed've=he'd've  hes=he's
    howd=how'd  howll=how'll  hows=how's  isnt=isn't  itd=it'd  it'dve=it'd've  itd've=it'd've  itll=it'll  let's=let's
    maam=ma'am  mightve=might've  mightnt=mightn't  mightn'tve=mightn't've  mightnt've=mightn't've  mustve=must've  mustnt=mustn't
    neednt=needn't  notve=not've  oclock=o'clock  oughtnt=oughtn't  shant=shan't  she'dve=she'd've  shed've=she'd've  she's=she's
    shouldve=should've  shouldnt=shouldn't  shouldn'tve=shouldn't've  shouldnt've=shouldn't've  somebody'dve=somebody'd've
    somebodyd've=somebody'd've  somebodyll=somebody'll  somebodys=somebody's  somebody'd=somebodyd  someoned=someone'd
    someone'dve=someone'd've  someoned've=someone'd've  someonell=someone'll  someones=someone's  somethingd=something'd
    something'dve=something'd've  somethingd've=something'd've  somethingll=something'll  thats=that's  thered=there'd
    there'dve=there'd've  thered've=there'd've  therere=there're  theres=there's  theyd=they'd  they'dve=they'd've
    theyd've=they'd've  theyll=they'll  theyre=they're  theyve=they've  wasnt=wasn't  we'dve=we'd've  wed've=we'd've  weve=we've
    werent=weren't  whatll=what'll  whatre=what're  whats=what's  whatve=what've  whens=when's  whered=where'd  wheres=where's
    whereve=where've  whod=who'd  who'dve=who'd've  whod've=who'd've  wholl=who'll  whos=who's  whove=who've  whyll=why'll
    whyre=why're  whys=why's  wont=won't  wouldve=would've  wouldnt=wouldn't  wouldn'tve=wouldn't've  wouldnt've=wouldn't've
    yall=y'all  y'all'dve=y'all'd've  y'alld've=y'all'd've  yall'd've=y'all'd've  y'allll=y'all'll  yall'll=y'all'll  youd=you'd
    you'dve=you'd've  youd've=you'd've  youll=you'll  youre=you're  youve=you've
""".split())
NUMBERS = {word: str(value) for value, word in enumerate("zero one two three four five six seven eight nine ten".split())}
NUMBERS["none"] = "0"
SIGNS = ';/[]"{}()=+\\_-><@`,?!'


def vqa_trim(text):
    return text.replace("\n", " ").replace("\t", " ").strip()


def vqa_normalise(text):
    digits = re.search(r"\d,\d", text) is not None
    plain = text
    for sign in SIGNS:
        beside_space = sign + " " in text or " " + sign in text
        plain = plain.replace(sign, "" if beside_space or digits else " ")
    plain = re.sub(r"\.(?!\d)", "", plain, count=32)
    words = [NUMBERS.get(word, word) for word in plain.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def vqa_score(answer, truth):
    answer, truth = vqa_trim(answer), [vqa_trim(text) for text in truth]
    if len(set(truth)) > 1:
        answer, truth = vqa_normalise(answer), [vqa_normalise(text) for text in truth]
    total = 0.0
    for left_out in range(len(truth)):
        others = truth[:left_out] + truth[left_out + 1:]
        total += min(1.0, others.count(answer) / 3)
    return total / len(truth)


def percent(scores):
    total = 0.0
    for score in scores:
        total += score
    return round(100 * total / len(scores), 2)


def nlvr2(truth, answer):
    """Accuracy and consistency; both dicts from identifier to True or False."""
    sentences = {}
    for identifier, label in truth.items():
        part = identifier.split("-")
        if len(part) > 2:
            part[2] = ""
        sentences.setdefault(tuple(part), []).append(answer[identifier] == label)
    right = [answer[identifier] == label for identifier, label in truth.items()]
    return percent(right), percent([all(judged) for judged in sentences.values()])


def recall(score, image_of, caption, images=None):
    """Recalls at 1, 5, 10, mean and median rank, both ways, of the pictures given (all), by counting."""
    images = range(len(score)) if images is None else images
    texts = [t for t in range(len(image_of)) if image_of[t] in set(images)]
    own = {i: {caption[t] for t in texts if image_of[t] == i} for i in images}

    def rank(candidates):  # [(score, is relevant)]
        best = max(value for value, is_relevant in candidates if is_relevant)
        return 1 + sum(1 for value, is_relevant in candidates if not is_relevant and value >= best)

    def figures(ranks):
        at = [100 * sum(r <= k for r in ranks) / len(ranks) for k in (1, 5, 10)]
        return at + [statistics.mean(ranks), statistics.median(ranks)]

    to_text = figures([rank([(score[i][t], caption[t] in own[i]) for t in texts]) for i in images])
    to_image = figures([rank([(score[i][t], caption[t] in own[i]) for i in images]) for t in texts])
    return to_text + to_image + [(sum(to_text[:3]) + sum(to_image[:3])) / 6]
