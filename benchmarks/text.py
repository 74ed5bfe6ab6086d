"""Learn a text for a minute on one core: ours, the same networks in PyTorch, a small transformer.

The text ships with Python, its help topics, by characters; the last tenth is held out. Each curve
is a process of its own, kept to one core and one thread, one after the other. Seconds are those
of training from the first update on, so imports count for nobody. Validation stops the clock of
PyTorch's. Ours is the real command: it pays for its own evaluations, plots and snapshots. Its curve
is that of the snapshots, which it is asked for by signals and which are evaluated afterwards.
"""

import argparse
import importlib.util
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.run import PYTHON, ROOT, Job, conditions, describe_machine, environment, run_python

Point = tuple[float, float]  # seconds, and nats a character


class Recipe(NamedTuple):
    """How a recurrent network is trained, ours and PyTorch's alike."""

    n_units: int
    batch: int
    window: int
    lr: float
    clip: float  # largest norm of the gradient of the loss summed over a window's steps
    dropout: float


RECIPES = {
    "gru": Recipe(256, 32, 64, 0.003, 5.0, 0.0),
    "lstm": Recipe(256, 32, 64, 0.003, 5.0, 0.0),
}
OURS, PYTORCH, TRANSFORMER = "ours", "PyTorch", "transformer, PyTorch"
VALID_FRACTION = 0.1
SECONDS = 60
POINTS = 12  # of a curve


def options(arch: str, text: Path) -> list[str]:
    """Of our command, those that what is learned depends on."""
    recipe = RECIPES[arch]
    return [
        *("-a", arch, "--data", str(text), "--tokens", "char"),
        *("--valid-fraction", str(VALID_FRACTION)),
        *("-u", str(recipe.n_units), "-b", str(recipe.batch), "-l", str(recipe.window)),
        *("--lr", str(recipe.lr), "--gradclip", str(recipe.clip)),
        *("--dropout", str(recipe.dropout)),
    ]


def write_text(path: Path) -> None:
    """Python's help topics, some 460,000 characters, one after another."""
    from pydoc_data.topics import topics

    path.write_text("\n\n".join(topics.values()), "utf-8", newline="\n")


def train_ours(arch: str, text: Path, seconds: float) -> dict[str, Any]:
    """Run the command for so many seconds; its updates and the points of its curve."""
    with tempfile.TemporaryDirectory() as folder:
        endless = ["-e", "1000000000", "--snapshot-every", "1000000000", "-o", folder]
        command = [PYTHON, "train_simple_sequence.py", *options(arch, text), *endless]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(1), stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.strip():
                    break  # all is ready
            begun = time.monotonic()
            for k in range(1, POINTS + 1):
                time.sleep(max(begun + seconds * k / POINTS - time.monotonic(), 0))
                process.send_signal(signal.SIGUSR1 if k < POINTS else signal.SIGTERM)
            process.stdout.read()
            process.wait()
        finally:
            process.kill()
            process.wait()
        if process.returncode != 128 + signal.SIGTERM:
            raise subprocess.CalledProcessError(process.returncode, command)
        return evaluate(arch, text, Path(folder))


def evaluate(arch: str, text: Path, folder: Path) -> dict[str, Any]:
    """Updates of the last snapshot in a folder; seconds and validation loss of each.

    The loss is what the command would have shown: over the whole held-out part, by as many streams
    as in training.
    """
    # Imported here, so that PyTorch's processes do without.
    import chainer_compat
    from chainer.serializers import NpzDeserializer

    from benchmarks.ours import make_evaluator
    from benchmarks.workload import Size
    from extensions.snapshot_file import numbered
    from models import ARCHS
    from models.classifier import Classifier
    from support.files import read_arrays
    from training.data import read_data
    from training.options import parse_arguments

    data = read_data(parse_arguments(None, options(arch, text)))
    recipe = RECIPES[arch]
    size = Size(data.n_vocab, recipe.n_units, recipe.batch, recipe.window)
    model = Classifier(ARCHS[arch](size.n_vocab, size.n_units))
    evaluator = make_evaluator(model, data.test, size)
    snapshots = numbered(str(folder))
    points = []
    for path in snapshots.values():
        arrays = read_arrays(path)
        NpzDeserializer(arrays, "updater/model:main/").load(evaluator.get_target("main"))
        points.append((float(arrays["_snapshot_elapsed_time"]), evaluator()["main/loss"]))
    return {"updates": max(snapshots, default=0), "points": points}


def train_pytorch(arch: str, text: Path, seconds: float) -> dict[str, Any]:
    """The same by PyTorch; of the transformer, too."""
    recipe = json.dumps(RECIPES.get(arch, ()))
    arguments = [arch, str(text), str(seconds), str(POINTS), recipe]
    done = run_python(["-m", "benchmarks.peer_text", *arguments], environment(1))
    return json.loads(done.stdout)


def loss_at(points: Sequence[Point], second: float) -> float | None:
    """Nats a character at a second, on a line between points; None before the first."""
    if not points or second < points[0][0]:
        return None
    for (before, upper), (after, lower) in itertools.pairwise(points):
        if second <= after:
            return upper + (lower - upper) * (second - before) / (after - before)
    return points[-1][1]


def second_of(points: Sequence[Point], loss: float) -> float | None:
    """When a curve first reaches a loss, on a line between points; None if it does not."""
    if points and points[0][1] <= loss:
        return points[0][0]
    for (before, upper), (after, lower) in itertools.pairwise(points):
        if lower <= loss < upper:
            return before + (after - before) * (upper - loss) / (upper - lower)
    return None


def format_curves(curves: Mapping[str, Mapping[str, Any]], seconds: float) -> str:
    """Markdown: losses at four times; when each has reached the last loss of some others."""
    times = [seconds * k / 4 for k in (1, 2, 3, 4)]
    goals = [name for name in curves if PYTORCH in name]
    head = ["", "updates", *(f"{t:g} s" for t in times), *(f"as {goal}" for goal in goals)]
    lines = [head, ["---"] * len(head)]
    for name, curve in curves.items():
        points = curve["points"]
        losses = [loss_at(points, second) for second in times]
        reached = [second_of(points, curves[goal]["points"][-1][1]) for goal in goals]
        cells = ["" if loss is None else f"{loss:.3f}" for loss in losses]
        cells += ["not" if second is None else f"{second:.0f} s" for second in reached]
        lines.append([name, f"{curve['updates']:,}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(curves: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Draw the curves into a picture."""
    from support.drawing import STYLES, new_figure, save_figure, style_of

    figure = new_figure(3.6, layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        arch, _, system = name.partition(", ")
        style = style_of(arch) if arch in RECIPES else STYLES[-1]
        line = "-" if system == OURS else "--"
        axes.plot(*zip(*curve["points"], strict=True), label=name, **{**style, "linestyle": line})
    axes.set_xlabel("seconds of training on one core")
    axes.set_ylabel("validation loss (nats a character)")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of training, each")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the curves")
    parser.add_argument("--chart", metavar="PATH", help="draw the curves, a PNG")
    args = parser.parse_args()
    for path in filter(None, (args.json, args.chart)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)

    jobs = [(f"{arch}, {system}", arch, system) for arch in RECIPES for system in (OURS, PYTORCH)]
    jobs.append((TRANSFORMER, "transformer", PYTORCH))
    if not importlib.util.find_spec("torch"):
        print("PyTorch is not installed: ours only", file=sys.stderr)
        jobs = [job for job in jobs if job[2] == OURS]
    curves = {}
    with tempfile.TemporaryDirectory() as folder, conditions(Job("text", "", "")):
        text = Path(folder, "topics.txt")
        write_text(text)
        for name, arch, system in jobs:
            print(f"{name}: {args.seconds:g} s of training", file=sys.stderr)
            train = train_ours if system == OURS else train_pytorch
            curves[name] = train(arch, text, args.seconds)
    machine = describe_machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(f"{machine['processor']}, one core, one thread; {versions}; loss in nats a character\n")
    print(format_curves(curves, args.seconds))
    if args.json:
        args.json.write_text(
            json.dumps({**machine, "seconds": args.seconds, "curves": curves}, indent=1)
        )
    if args.chart:
        draw(curves, args.chart)


if __name__ == "__main__":
    main()
