"""Publishes reports that carry the time, then waits to be stopped. For training.py beside it."""

import argparse
import json
import time

import zmq


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("reports", "control-port", "progress-port", "floor-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--per-second", type=float, required=True)
    arguments = parser.parse_args()
    context = zmq.Context.instance()
    control = context.socket(zmq.SUB)
    control.subscribe("")
    control.connect(f"tcp://127.0.0.1:{arguments.control_port}")
    sockets = []
    for port in (arguments.progress_port, arguments.floor_port):
        sockets.append(context.socket(zmq.PUB))
        sockets[-1].connect(f"tcp://127.0.0.1:{port}")
    time.sleep(0.5)

    def tell(to: zmq.Socket, event: str, **fields) -> None:
        to.send_string(json.dumps({"what": "", "event": event, "logs": None, **fields}))

    tell(sockets[0], "train_begin")
    began = time.monotonic()
    for number in range(arguments.reports):
        # Each in turn first, so that neither always waits for the other.
        for socket in sockets if number % 2 else reversed(sockets):
            logs = {"loss": time.time()}
            tell(socket, "batch_end", epoch=0, batch=number, logs=logs)
        ahead = (number + 1) / arguments.per_second - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
    tell(sockets[0], "epoch_end", epoch=0)
    control.recv_string()
    tell(sockets[0], "train_end")
    for socket in sockets:
        socket.close(linger=1000)


if __name__ == "__main__":
    main()
