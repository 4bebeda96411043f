"""Makes the data set beside it again: points on a line with a little noise, always the same."""

import csv
import random
from pathlib import Path

SLOPE, OFFSET, NOISE, POINTS = 1.7, -0.4, 0.05, 64


def main() -> None:
    numbers = random.Random(20)
    with (Path(__file__).parent / "data" / "points.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["x", "y"])
        for _ in range(POINTS):
            x = numbers.uniform(-1, 1)
            y = SLOPE * x + OFFSET + numbers.gauss(0, NOISE)
            writer.writerow([f"{x:.6f}", f"{y:.6f}"])


if __name__ == "__main__":
    main()
