"""The whole job as a PyTorch user would write it.

python -m benchmarks.command_pytorch -a rnn -o result
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from benchmarks.peer_pytorch import ARCHS, Model, Training
from benchmarks.workload import DEFAULT, EPOCHS, UPDATES, make_tokens, make_windows


def evaluate(model: Model, x: torch.Tensor, t: torch.Tensor) -> tuple[float, float]:
    """Mean loss and accuracy of the model over one long window, from a reset state."""
    model.eval()
    with torch.no_grad():
        logits = model(x, None)[0].flatten(0, 1)
        t = t.flatten()
        loss = F.cross_entropy(logits, t).item()
        accuracy = (logits.argmax(1) == t).float().mean().item()
    model.train()
    return loss, accuracy


def streams(tokens: NDArray[np.int32], batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Current and next tokens of the streams, ``(steps, batch)`` each."""
    ids = torch.from_numpy(tokens).long()
    return ids.view(batch, -1).T, ids.roll(-1).view(batch, -1).T


def plot(log: Sequence[Mapping[str, float]], name: str, path: str) -> None:
    """Draw training and validation over the epochs."""
    figure, axes = plt.subplots()
    epochs = [entry["epoch"] for entry in log]
    for part in ("train", "validation"):
        axes.plot(epochs, [entry[f"{part} {name}"] for entry in log], "x-", label=part)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid()
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Train with the default options; evaluate and save each epoch, plot at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-a", "--arch", choices=ARCHS, default="rnn")
    parser.add_argument("-o", "--out", default="result")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)

    training = Training(args.arch, DEFAULT)
    model, optimizer = training.model, training.optimizer
    train = [torch.from_numpy(ids).long() for ids in make_windows(DEFAULT)]
    test = streams(make_tokens(DEFAULT), DEFAULT.batch)
    log, losses, accuracies = [], [], []
    start = time.perf_counter()
    for iteration, window in enumerate(zip(*train, strict=True), start=1):
        loss, accuracy = training.update(*window)
        losses.append(loss)
        accuracies.append(accuracy)
        epoch, rest = divmod(iteration * EPOCHS, UPDATES)
        if rest >= EPOCHS:
            continue
        test_loss, test_accuracy = evaluate(model, *test)
        entry = {
            "epoch": epoch,
            "train loss": torch.stack(losses).mean().item() / DEFAULT.window,
            "validation loss": test_loss,
            "train accuracy": torch.stack(accuracies).mean().item(),
            "validation accuracy": test_accuracy,
            "elapsed time": time.perf_counter() - start,
        }
        print("  ".join(f"{name} {value:.4g}" for name, value in entry.items()), flush=True)
        log.append(entry)
        losses, accuracies = [], []
        with open(os.path.join(args.out, "log"), "w") as file:
            json.dump(log, file, indent=4)
        checkpoint = {
            "iteration": iteration,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        torch.save(checkpoint, os.path.join(args.out, f"checkpoint_{iteration}.pt"))
    plot(log, "loss", os.path.join(args.out, "loss.png"))
    plot(log, "accuracy", os.path.join(args.out, "accuracy.png"))
    torch.save(model.state_dict(), os.path.join(args.out, f"{args.arch}.pt"))


if __name__ == "__main__":
    main()
