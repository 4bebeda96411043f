"""`sleap-nn` as far as a worker sees it: the command line, ZMQ, the files. It fits lines to points.

A configuration is YAML with the keys of SLEAP's; `labels` are points as in `data/points.csv`. Keys
behind `test` steer it: `pause` seconds after each batch, `fail_with` an exit code.
"""

import json
import sys
import time
from pathlib import Path

import yaml
from train import Controller, mean_loss, points

BATCH = 16


def main() -> None:
    command, *words = sys.argv[1:]
    {"train": train, "track": track}[command](words)


# --- train ---


def train(words: list[str]) -> None:
    options, overrides = {}, {}
    words = iter(words)
    for word in words:
        if word.startswith("--"):
            options[word] = next(words)
        else:
            key, _, value = word.lstrip("+").partition("=")
            overrides[key] = value
    path = Path(options["--config-dir"]) / options["--config-name"]
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in overrides.items():
        put(config, key.split("."), yaml.safe_load(value))
    trainer, data = config["trainer_config"], config["data_config"]
    controller = Controller(trainer["zmq"]["controller_port"], trainer["zmq"]["publish_port"])
    try:
        model = fit(points(Path(data["train_labels_path"][0])), trainer, config, controller)
    finally:
        controller.close()
    folder = Path(trainer["ckpt_dir"]) / trainer["run_name"]
    folder.mkdir(parents=True)
    (folder / "best.ckpt").write_text(json.dumps(model), encoding="utf-8")
    (folder / "training_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def put(config: dict, keys: list[str], value) -> None:
    for key in keys[:-1]:
        config = config.setdefault(key, {})
    config[keys[-1]] = value


def fit(data: list, trainer: dict, config: dict, controller: Controller) -> dict:
    test = config.get("test", {})
    print(f"training {config['model']}", flush=True)
    print("a warning of the trainer", file=sys.stderr, flush=True)
    if "fail_with" in test:
        sys.exit(test["fail_with"])
    model, stopped, epochs = [0.0, 0.0], False, 0
    controller.tell("train_begin", wandb_url=None)
    for epoch in range(trainer["max_epochs"]):
        controller.tell("epoch_begin", epoch=epoch)
        for batch in range(0, len(data), BATCH):
            part = data[batch : batch + BATCH]
            errors = [(model[0] * x + model[1] - y, x) for x, y in part]
            model[0] -= 0.5 * sum(error * x for error, x in errors) / len(part)
            model[1] -= 0.5 * sum(error for error, _ in errors) / len(part)
            number, loss = batch // BATCH, mean_loss(model, part)
            controller.tell("batch_end", epoch=epoch, batch=number, logs={"loss": loss})
            print(f"Epoch {epoch}: batch {number}", end="\r", flush=True)
            time.sleep(test.get("pause", 0))
            stopped = stopped or controller.wants_to_stop()
            if stopped:
                break
        epochs = epoch + 1
        loss = mean_loss(model, data)
        logs = {"train/loss": loss, "val/loss": loss}
        controller.tell("epoch_end", epoch=epoch, logs=logs)
        if stopped:
            break
    controller.tell("train_end")
    return {"model": config["model"], "slope": model[0], "offset": model[1], "epochs": epochs}


# --- track ---


def track(words: list[str]) -> None:
    options: dict[str, list[str]] = {}
    words = iter(words)
    for word in words:
        flag = word in {"--only_suggested_frames", "--gui"}
        options.setdefault(word, []).append("" if flag else next(words))
    data = points(Path(options["--data_path"][0]))
    models = [
        json.loads((Path(path) / "best.ckpt").read_text(encoding="utf-8"))
        for path in options["--model_paths"]
    ]
    print("tracking", flush=True)
    if "--gui" in options:
        print(json.dumps({"n_processed": len(data), "n_total": len(data)}), flush=True)
    predictions = {
        "models": [model["model"] for model in models],
        "suggested": "--only_suggested_frames" in options,
        "points": [[x, models[0]["slope"] * x + models[0]["offset"]] for x, _ in data],
    }
    Path(options["-o"][0]).write_text(json.dumps(predictions), encoding="utf-8")


if __name__ == "__main__":
    main()
