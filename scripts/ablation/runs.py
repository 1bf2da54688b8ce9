"""Trains one run of an ablation, or what is left of it, and reads what it recorded."""
import ctypes
import json
import os
import re
import signal
import subprocess
import time

STOPPED = 10  # vlmoe-train was asked to stop, and has saved
STREAMS = ("images", "texts", "pairs")


class RunError(Exception):
    pass


class OutOfTime(Exception):
    pass


def die_with_parent():
    """A training outlives nobody who is killed: two would write into one folder."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Trainer:
    """The tools of one build, with a moment at which to stop."""

    def __init__(self, build, deadline=None):
        self.build, self.deadline, self.child = build, deadline, None

    def tool(self, name, *arguments):
        done = subprocess.run([os.path.join(self.build, name), *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RunError(f"{name} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def config(self, config, settings):
        return json.loads(self.tool("vlmoe-train", "--config", config, *settings, "--print-config"))

    def step_tflop(self, config, settings):
        """Work of one optimiser step, forward and backward."""
        text = self.tool("vlmoe-train", "--config", config, *settings, "--dry-run")
        return float(re.search(r"work of one step: ([0-9.e+-]+) TFLOP", text).group(1))

    def train(self, config, settings, out, log):
        """Starts or resumes; raises OutOfTime when the moment came first, and RunError when it failed."""
        command = [os.path.join(self.build, "vlmoe-train"), "--config", config, *settings, f"run.out={out}", "--resume"]
        os.makedirs(out, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            self.child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
            asked = False
            while self.child.poll() is None:
                time.sleep(0.05)
                if not asked and self.deadline and time.monotonic() > self.deadline:
                    self.child.terminate()
                    asked = True
        code, self.child = self.child.returncode, None
        if code == STOPPED or asked and code == -signal.SIGTERM:  # asked before it could listen: nothing is begun
            raise OutOfTime
        if code:
            with open(log, encoding="utf-8") as file:
                raise RunError(f"a run failed with {code}; {log}: {file.read().strip().splitlines()[-1:]}")

    def stop(self):
        if self.child:
            self.child.terminate()
            self.child.wait()

    def drops(self, out, config):
        """stream -> share of tokens that found no room, over the held-out data at the capacity of training."""
        found = {}
        for stream in STREAMS:
            if not config["data"]["val_" + stream]:
                continue
            others = [f"data.val_{other}=[]" for other in STREAMS if other != stream]
            text = self.tool("vlmoe-inspect", out, "--routing", "--limit", "256", *others,
                             f"moe.capacity_factor_eval={config['moe']['capacity_factor']}")
            blocks = [(int(n), float(share)) for n, share in re.findall(r"(\d+) tokens, \d+ experts\n\s*dropped ([0-9.]+) %", text)]
            tokens = sum(n for n, _ in blocks)
            if tokens:
                found[stream] = sum(n * share / 100 for n, share in blocks) / tokens
        return found


def records(out):
    try:
        with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # the last line of a run that was killed
            pass
    return found


def mark_finished(out, config, settings):
    with open(out + ".done", "w", encoding="utf-8") as file:
        json.dump([config, settings], file)


def is_finished(out, config, settings):
    """It ended by itself, with these settings. Any others go to vlmoe-train, which says what it makes of them."""
    try:
        with open(out + ".done", encoding="utf-8") as file:
            return json.load(file) == [config, settings]
    except (OSError, ValueError):
        return False


def mean(values):
    return sum(values) / len(values)


def deviation(values):
    """Sample deviation; 0 of one value."""
    if len(values) < 2:
        return 0.0
    centre = mean(values)
    return (sum((v - centre) ** 2 for v in values) / (len(values) - 1)) ** 0.5


def summary(out):
    """What a finished run's records say, flat: the last evaluation, and the second half of its training."""
    all_records = records(out)
    train = [r for r in all_records if r["kind"] == "train"]
    evaluation = [r for r in all_records if r["kind"] == "eval"][-1]
    half = train[len(train) // 2:]
    norms = [r["grad_norm"] for r in half if r.get("grad_norm") is not None]
    row = {"steps": train[-1]["step"], "seconds": round(sum(r["seconds"] for r in train), 1), "samples": sum(r["samples"] for r in train)}
    row.update({key: value for key, value in evaluation.items()
                if isinstance(value, (int, float)) and key not in ("step", "seconds", "wait_seconds", "samples", "cut_texts", "dropped")})
    row.update(train_loss=mean([r["loss"] for r in half]), grad_norm_mean=mean(norms), grad_norm_max=max(norms), grad_norm_sd=deviation(norms))
    if half[-1].get("routing"):
        row["train_dropped"] = mean([r["dropped"] for r in half])
        row["load_cv"] = mean([mean([block["load_cv"] for block in r["routing"]]) for r in half])
    return row
