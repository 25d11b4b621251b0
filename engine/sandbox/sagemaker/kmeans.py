"""A stand-in for the image of AWS's k-means, run as `kmeans.py train` or `kmeans.py serve`.

It keeps to what is documented of the algorithm for a training channel of text/csv and requests in CSV or
JSON: https://docs.aws.amazon.com/sagemaker/latest/dg/k-means.html. Where it runs, only Python's own library
is there.
"""

from __future__ import annotations

import csv
import http.server
import json
import math
import random
import sys
from collections.abc import Iterable
from pathlib import Path

INPUT = Path("/opt/ml/input")
MODEL = Path("/opt/ml/model/centroids.json")
FAILURE = Path("/opt/ml/output/failure")
ROUNDS = 100
Point = list[float]


def main() -> int:
    """Trains or serves; 1 with the reason in /opt/ml/output/failure where that fails."""
    if sys.argv[1:] == ["serve"]:
        serve()
        return 0
    try:
        train()
    except (KeyError, OSError, ValueError) as error:
        FAILURE.parent.mkdir(parents=True, exist_ok=True)
        FAILURE.write_text(f"Customer Error: {error}")
        sys.stdout.write(f"Customer Error: {error}\n")
        return 1
    return 0


def train() -> None:
    """Clusters the channel `train` and writes the centres. Raises ValueError in words."""
    settings = json.loads((INPUT / "config/hyperparameters.json").read_text())
    if "k" not in settings or "feature_dim" not in settings:
        raise ValueError("the hyperparameters `k` and `feature_dim` are required")
    k, width = int(settings["k"]), int(settings["feature_dim"])
    points = read(INPUT / "data/train", label=_label_size() > 0)
    if any(len(point) != width for point in points):
        raise ValueError(f"the data has {len(points[0])} columns, and feature_dim is {width}")
    if len(points) < k:
        raise ValueError(f"{len(points)} records cannot be put into {k} clusters")
    centres = cluster(points, k)
    away = math.fsum(nearest(point, centres)[1] ** 2 for point in points) / len(points)
    sys.stdout.write(f"#quality_metric: host=algo-1, train msd <loss>={away:.6f}\n")
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    MODEL.write_text(json.dumps(centres))


def _label_size() -> int:
    """How many leading columns are no features: `text/csv;label_size=0`."""
    told = json.loads((INPUT / "config/inputdataconfig.json").read_text())["train"].get("ContentType", "")
    if not told.startswith("text/csv"):
        raise ValueError(f"the sandbox's k-means reads text/csv, not {told or 'data without a content type'}")
    return 0 if "label_size=0" in told.replace(" ", "") else 1


def read(folder: Path, *, label: bool) -> list[Point]:
    """The records of all files below a folder, without their first column where it is a label."""
    points = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open(newline="") as file:
            points += [[float(cell) for cell in row[label:]] for row in csv.reader(file) if row]
    if not points:
        raise ValueError("there is no data in the channel train")
    return points


def cluster(points: list[Point], k: int) -> list[Point]:
    """The centres of `k` clusters (Lloyd's algorithm from k-means++ seeds)."""
    chance = random.Random(0)
    centres = [chance.choice(points)]
    while len(centres) < k:
        weights = [nearest(point, centres)[1] ** 2 for point in points]
        centres.append(chance.choices(points, weights)[0] if any(weights) else chance.choice(points))
    for _ in range(ROUNDS):
        groups: list[list[Point]] = [[] for _ in centres]
        for point in points:
            groups[nearest(point, centres)[0]].append(point)
        moved = [mean(group) if group else centre for group, centre in zip(groups, centres, strict=True)]
        if moved == centres:
            break
        centres = moved
    return centres


def mean(points: list[Point]) -> Point:
    """The point in the middle of `points`."""
    return [math.fsum(column) / len(points) for column in zip(*points, strict=True)]


def nearest(point: Point, centres: Iterable[Point]) -> tuple[int, float]:
    """The number of the nearest centre, and how far it is."""
    return min(enumerate(math.dist(point, centre) for centre in centres), key=lambda found: found[1])


def asked(content_type: str, body: str) -> list[Point]:
    """The points of a request. Raises ValueError, KeyError."""
    if content_type.startswith("application/json"):
        return [[float(value) for value in each["features"]] for each in json.loads(body)["instances"]]
    return [[float(cell) for cell in row] for row in csv.reader(body.splitlines()) if row]


class Answers(http.server.BaseHTTPRequestHandler):
    """GET /ping and POST /invocations."""

    centres: list[Point]

    def do_GET(self) -> None:
        """Well."""
        self._answer(200 if self.path == "/ping" else 404, {})

    def do_POST(self) -> None:
        """The nearest cluster of each point."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            points = asked(self.headers.get("Content-Type", "text/csv"), body)
            found = [nearest(point, self.centres) for point in points]
        except (KeyError, TypeError, ValueError) as error:
            self._answer(400, {"error": f"the request cannot be read: {error}"})
            return
        told = [{"distance_to_cluster": away, "closest_cluster": float(number)} for number, away in found]
        self._answer(200, {"predictions": told})

    def _answer(self, status: int, told: object) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve() -> None:
    """Answers on port 8080 with the centres of the artefact."""
    Answers.centres = json.loads(MODEL.read_text())
    http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answers).serve_forever()


if __name__ == "__main__":
    sys.exit(main())
