"""A small real training that speaks with its worker as SLEAP's trainers do.

It fits a line to points by stochastic gradient descent, publishes its progress over ZMQ, looks for
commands once a batch, writes its model after every epoch and finishes early when asked to.

With --trouble it does what trainers do on bad days: `die` ends it in its third epoch without a
word, `mute` before it said anything at all, `late` connects only after two epochs, `again` trains
twice with new sockets, as after a restart, `silent` says nothing for a while, `heartbeat` asks for
ZMQ's heartbeats.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import zmq

CONNECT_SECONDS = 0.3
SILENT_SECONDS = 3
TROUBLES = ("none", "die", "late", "again", "silent", "heartbeat", "mute")


class Controller:
    """The worker's two sockets: commands come from one, progress goes to the other."""

    def __init__(self, control_port: int, progress_port: int, heartbeat_ms: int = 0):
        context = zmq.Context.instance()
        self.control = context.socket(zmq.SUB)
        self.control.subscribe("")
        self.progress = context.socket(zmq.PUB)
        for socket, port in ((self.control, control_port), (self.progress, progress_port)):
            if heartbeat_ms:
                socket.setsockopt(zmq.HEARTBEAT_IVL, heartbeat_ms)
            socket.connect(f"tcp://127.0.0.1:{port}")
        # A publisher loses what it says before its subscriber is there.
        time.sleep(CONNECT_SECONDS)

    def tell(self, event: str, **fields) -> None:
        # `logs` is null and not left out, numbers that are none are bare: as SLEAP writes them.
        self.progress.send_string(
            json.dumps({"what": "", "event": event, **{"logs": None, **fields}})
        )

    def wants_to_stop(self) -> bool:
        stop = False
        while self.control.poll(0):
            said = json.loads(self.control.recv_string())
            stop |= said.get("command") == "stop"
            if said.get("command") == "set_lr":
                print(f"the learning rate is {said['lr']}", flush=True)
        return stop

    def close(self) -> None:
        self.progress.close(linger=1000)
        self.control.close()


def points(path: Path) -> list[tuple[float, float]]:
    with path.open(newline="") as file:
        return [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]


def mean_loss(model: list[float], data: list) -> float:
    return sum((model[0] * x + model[1] - y) ** 2 for x, y in data) / len(data)


class Nobody:
    """No worker yet: a training that began without one."""

    def tell(self, event: str, **fields) -> None:
        pass

    def wants_to_stop(self) -> bool:
        return False

    def close(self) -> None:
        pass


def train(arguments: argparse.Namespace, connect) -> None:
    config = json.loads((arguments.package / "config.json").read_text(encoding="utf-8"))
    data = points(arguments.package / "points.csv")
    held_back = int(len(data) * config["validation_share"])
    validation, training = data[:held_back], data[held_back:]
    size, rate = config["batch_size"], config["learning_rate"]
    model = [0.0, 0.0]
    trouble = arguments.trouble
    controller = Nobody() if trouble == "late" else connect()
    controller.tell("train_begin", wandb_url=None)
    stopped = False
    for epoch in range(arguments.epochs):
        if epoch == 2:
            if trouble == "late":
                controller = connect()
            elif trouble == "silent":
                time.sleep(SILENT_SECONDS)
            elif trouble == "die":
                # What it said before is on its way; only its end is without a word.
                controller.close()
                zmq.Context.instance().term()
                os.kill(os.getpid(), signal.SIGKILL)
        controller.tell("epoch_begin", epoch=epoch)
        for batch in range(0, len(training), size):
            part = training[batch : batch + size]
            controller.tell("batch_start", epoch=epoch, batch=batch // size)
            errors = [(model[0] * x + model[1] - y, x) for x, y in part]
            model[0] -= rate * sum(error * x for error, x in errors) / len(part)
            model[1] -= rate * sum(error for error, _ in errors) / len(part)
            loss = float("nan") if epoch == arguments.nan_at else mean_loss(model, part)
            controller.tell("batch_end", epoch=epoch, batch=batch // size, logs={"loss": loss})
            print(f"epoch {epoch} batch {batch // size}", end="\r", flush=True)
            time.sleep(arguments.pause)
            stopped = stopped or controller.wants_to_stop()
            if stopped:
                break
        loss = float("nan") if epoch == arguments.nan_at else mean_loss(model, training)
        logs = {"train/loss": loss, "val/loss": mean_loss(model, validation)}
        controller.tell("epoch_end", epoch=epoch, logs=logs)
        print(f"epoch {epoch} done", flush=True)
        Path("model.json").write_text(
            json.dumps({"slope": model[0], "offset": model[1], "epochs": epoch + 1}),
            encoding="utf-8",
        )
        if stopped:
            break
    controller.tell("train_end")
    controller.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("package", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each batch")
    parser.add_argument("--nan-at", type=int, default=-1, help="report no number in this epoch")
    parser.add_argument("--helpers", type=int, default=0, help="processes beside the training")
    parser.add_argument("--trouble", choices=TROUBLES, default="none")
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--progress-port", type=int, required=True)
    arguments = parser.parse_args()
    for _ in range(arguments.helpers):
        # As a data loader: it does not end by itself when the trainer is gone.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    if arguments.trouble == "mute":
        os._exit(3)
    heartbeat_ms = 200 if arguments.trouble == "heartbeat" else 0
    for _ in range(2 if arguments.trouble == "again" else 1):
        train(
            arguments,
            lambda: Controller(arguments.control_port, arguments.progress_port, heartbeat_ms),
        )


if __name__ == "__main__":
    main()
