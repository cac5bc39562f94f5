"""Make a long run directory from a real one, for timing what reads run directories.

Items and episodes are those of the given run, again and again under new ids, clusters
and hashes. Two runs of the same items grow alike, so that they can still be paired.

Examples:
    python -m benchmarks.big_run runs/armbench_mini--rules--88c2ffcb big --episodes 20000
    python -m benchmarks.big_run runs/armbench_mini--rules--88c2ffcb big --episodes 2000 --images
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from armbench.progress import SlowProgress
from armbench.runlog import RunDir
from armbench.trajectory import Trajectory
from armbench.types import Sample


def main() -> int:
    """Write the run and print where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a real run directory")
    parser.add_argument("out", type=Path, help="folder for the new run directory")
    parser.add_argument("--episodes", type=int, default=20_000)
    parser.add_argument("--images", action="store_true", help="copy the pictures, too")
    args = parser.parse_args()
    print(big_run(args.run, args.out, args.episodes, images=args.images))
    return 0


def big_run(source: Path, out: Path, episodes: int, *, images: bool = False) -> Path:
    """A run directory under `out` with the given number of episodes."""
    old = RunDir(source)
    config = {**old.config(), "made": f"{episodes} episodes out of {source.name}"}
    run = RunDir.create(out, source.name, config)
    say = SlowProgress("writing episodes")
    for n, (sample, trajectory) in enumerate(islice(_again(old), episodes), 1):
        say(n, episodes, "")
        run.add_sample(sample)
        run.append(trajectory)
    run.close()
    if images:
        shutil.copytree(source / "images", run.path / "images")
    return run.path


def _again(run: RunDir) -> Iterator[tuple[Sample, Trajectory]]:
    samples = {sample.hash: sample for sample in run.samples()}
    trajectories = list(run.trajectories())
    for turn in count():
        again = {key: _renamed(sample, turn) for key, sample in samples.items()}
        for trajectory in trajectories:
            sample = again[trajectory.sample_hash]
            update = {"sample_id": sample.id, "sample_hash": sample.hash}
            yield sample, trajectory.model_copy(update=update)


def _renamed(sample: Sample, turn: int) -> Sample:
    if not turn:
        return sample
    cluster = sample.cluster and f"{sample.cluster}~{turn}"
    return sample.model_copy(update={"id": f"{sample.id}~{turn}", "cluster": cluster})


if __name__ == "__main__":
    sys.exit(main())
