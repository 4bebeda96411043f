"""The training of train.py as a small convolutional network in PyTorch, on a GPU if there is one.

The points of the package become images of 32 x 32 pixels with a bright spot each; the network
learns where the spot is, as a pose estimator does. It says the same words over ZMQ as train.py.
PyTorch is large, so the tests do not install it: on a machine with a GPU do

    python3 -m pip install torch pyzmq
    python3 test_files/training/train_torch.py test_files/training/data --epochs 20

or let a worker run it as a job (`train-torch` in worker.toml).
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn
from train import Controller, Nobody, points

SIZE = 32


def spots(places: torch.Tensor) -> torch.Tensor:
    """Images with a spot at each place, both from -1 to 1."""
    axis = torch.linspace(-1, 1, SIZE, device=places.device)
    across = (axis[None, :] - places[:, :1]) ** 2
    down = (axis[None, :] - places[:, 1:]) ** 2
    image = torch.exp(-(down[:, :, None] + across[:, None, :]) / 0.02)
    return image[:, None] + 0.05 * torch.randn_like(image)[:, None]


def network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * (SIZE // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, 2),
    )


def samples(package: Path, count: int) -> torch.Tensor:
    """As many places as wanted, around those of the package."""
    base = torch.tensor(points(package / "points.csv"), dtype=torch.float32)
    base = base / base.abs().max()
    chosen = base[torch.randint(len(base), (count,))]
    return (chosen + 0.1 * torch.randn(count, 2)).clamp(-1, 1)


def train(arguments: argparse.Namespace, controller: Controller | Nobody) -> None:
    config = json.loads((arguments.package / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(20)
    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    print(f"training on {name}, PyTorch {torch.__version__}", flush=True)
    places = samples(arguments.package, arguments.samples).to(device)
    held_back = max(1, int(len(places) * config["validation_share"]))
    validation, training = places[:held_back], places[held_back:]
    size = arguments.batch_size
    model = network(arguments.width).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.MSELoss()
    controller.tell("train_begin", wandb_url=None)
    stopped = False
    for epoch in range(arguments.epochs):
        began = time.monotonic()
        controller.tell("epoch_begin", epoch=epoch)
        total, batches = 0.0, 0
        for at in range(0, len(training), size):
            part = training[at : at + size]
            controller.tell("batch_start", epoch=epoch, batch=batches)
            loss = loss_of(model(spots(part)), part)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            controller.tell("batch_end", epoch=epoch, batch=batches, logs={"loss": loss.item()})
            total += loss.item()
            batches += 1
            stopped = stopped or controller.wants_to_stop()
            if stopped:
                break
        with torch.no_grad():
            held_out = loss_of(model(spots(validation)), validation).item()
        logs = {"train/loss": total / batches, "val/loss": held_out}
        controller.tell("epoch_end", epoch=epoch, logs=logs)
        rate = batches * size / (time.monotonic() - began)
        print(f"epoch {epoch} done, {rate:.0f} images/s", flush=True)
        torch.save(model.state_dict(), "model.pt")
        told = {"epochs": epoch + 1, "val_loss": held_out, "device": device}
        Path("model.json").write_text(json.dumps(told), encoding="utf-8")
        if stopped:
            break
    controller.tell("train_end")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("package", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=32, help="channels of the convolutions")
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--control-port", type=int)
    parser.add_argument("--progress-port", type=int)
    arguments = parser.parse_args()
    controller = Nobody()
    if arguments.control_port and arguments.progress_port:
        controller = Controller(arguments.control_port, arguments.progress_port)
    try:
        train(arguments, controller)
    finally:
        controller.close()


if __name__ == "__main__":
    main()
