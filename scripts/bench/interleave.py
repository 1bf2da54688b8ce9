"""Fair comparisons of programs that obey commands: turns in one run, the others stopped, samples thrown away when the machine was disturbed.

A program prints a line of JSON with "ready", then answers each command with a line of JSON (tests/bench, scripts/bench/peer_*.py). A probe of
the processor's multiply-adds stands before and after every sample: a sample counts when both are within a tenth of the best probe of the run."""
import ctypes
import json
import os
import signal
import statistics
import subprocess
import time

GOOD_PROBE = 0.9
LIBRARY = "/usr/lib/x86_64-linux-gnu/openblas-openmp"  # Debian's fastest BLAS for its PyTorch; the package installs it there


def die_with_parent():
    """In a new program: a stopped one would outlive a killed driver, memory and all."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Program:
    """Stopped between its turns, so that threads which spin take nothing from the one whose turn it is."""

    def __init__(self, label, command, env=None, resident=True):
        self.label, self.command, self.resident = label, [str(word) for word in command], resident
        self.env = {**os.environ, **(env or {})}
        self.process, self.ready = None, None
        self.warm_up = 1  # answers thrown away after each start

    def start(self, command):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, text=True,
                                        preexec_fn=die_with_parent)
        self.ready = self.read()
        for _ in range(self.warm_up):
            self.talk(command)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            errors = self.process.stderr.read().strip().splitlines()
            raise RuntimeError(f"{self.label}: ended: {errors[-1] if errors else 'without a word'}")
        return json.loads(line)

    def talk(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.read()

    def ask(self, command):
        if not self.process:
            self.start(command)
        else:
            self.process.send_signal(signal.SIGCONT)
        answer = self.talk(command)
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def text(self, command):
        """Lines up to "end"."""
        if not self.process:
            self.start("step")
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == "end\n":
                break
            lines.append(line)
        self.process.send_signal(signal.SIGSTOP)
        return "".join(lines)

    def end_turn(self):
        if not self.resident:
            self.quit()

    def quit(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.communicate()
            self.process = None


def peer_env(policy="passive"):
    """How PyTorch on glibc and GNU OpenMP is fastest: no page given back between steps, the fast BLAS where Debian has put it."""
    return {"OMP_WAIT_POLICY": policy, "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36), "MALLOC_TOP_PAD_": str(1 << 28),
            "LD_LIBRARY_PATH": LIBRARY}


class Samples(list):
    """Answers with their probes: (answer, before, after)."""

    def good(self, best):
        kept = [answer for answer, before, after in self if min(before, after) >= GOOD_PROBE * best]
        if kept:
            return kept
        most = sorted(self, key=lambda sample: -min(sample[1:]))  # nothing was quiet: the quietest half, and the report says so
        return [answer for answer, _, _ in most[:max(1, len(most) // 2)]]


class Run:
    """turns: [(name, program, command)]."""

    def __init__(self, probe_program, probe_command="fma"):
        self.probe_program, self.probe_command = probe_program, probe_command
        probe_program.warm_up = 2
        self.best = 0.0
        self.samples = {}

    def probe(self):
        value = self.probe_program.ask(self.probe_command)[self.probe_command]
        self.best = max(self.best, value)
        return value

    def take(self, name, program, command, count=1):
        samples = self.samples.setdefault(name, Samples())
        if not program.process:
            program.start(command)
        for _ in range(count):
            before = self.probe()
            answer = program.ask(command)
            samples.append((answer, before, self.probe()))
        program.end_turn()

    def n_good(self, name):
        return sum(min(before, after) >= GOOD_PROBE * self.best for _, before, after in self.samples.get(name, ()))

    def interleave(self, turns, rounds, longest_seconds):
        """A, B, ..., A, B, ... until each has `rounds` good samples, or the time is over; each is seen at least twice."""
        begin = time.monotonic()
        while True:
            for name, program, command in turns:
                self.take(name, program, command, 1 if program.resident else 3)
            fewest = min(self.n_good(name) for name, _, _ in turns)
            seen = min(len(self.samples[name]) for name, _, _ in turns)
            if seen >= 2 and (fewest >= rounds or time.monotonic() - begin > longest_seconds):
                return

    def values(self, name, key="seconds"):
        return [answer[key] for answer in self.samples[name].good(self.best)]

    def median(self, name, key="seconds"):
        return statistics.median(self.values(name, key))

    def spread(self, name, key="seconds"):
        values = self.values(name, key)
        return f"{min(values):.3f}-{max(values):.3f}"

    def too_busy(self):
        """A shortfall where figures stand on fewer than two quiet samples."""
        names = [name for name in self.samples if self.n_good(name) < 2]
        return [f"the machine was too busy to measure {', '.join(names)}"] if names else []

    def quality(self):
        good, seen = sum(self.n_good(name) for name in self.samples), sum(map(len, self.samples.values()))
        return f"{good} of {seen} samples were taken on a quiet machine (probe {self.best:.0f} GFLOP/s)"


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))


def machine_peaks(build):
    """What bench_probe reaches: {"fma": GFLOP/s, ...}; the best of three."""
    probe = Program("bench_probe", [f"{build}/tests/bench/bench_probe"])
    probe.warm_up = 0
    peaks = {}
    for _ in range(3):
        for command in ("fma", "bf16", "product_f32", "product_bf16", "read", "triad"):
            peaks[command] = max(peaks.get(command, 0.0), probe.ask(command)[command])
    probe.quit()
    return peaks


def machine():
    """The processor and how much of it this process may use."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = [line.split(":", 1) for line in file if ":" in line]
    facts = {name.strip(): value.strip() for name, value in lines}
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in facts.get("flags", "").split()]
    return f"{len(os.sched_getaffinity(0))} cores of {facts.get('model name', 'an unknown processor')} ({', '.join(has)})"
