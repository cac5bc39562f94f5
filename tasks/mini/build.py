"""Write the benchmark: ``python -m armbench.tasks.mini.build --out DIR``.

``--check DIR`` makes it again from the seed in the folder's manifest and compares.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import reportlab
from PIL import Image
from rich.progress import Progress

from armbench.tasks.mini import EVAL_SEED, GENERATOR_VERSION, legibility, reports, scenes, texts
from armbench.tasks.mini.items import Asset, Item

Manifest = dict[str, Any]
"""What was built: seed, versions, hashes of every file, counts."""

Report = Callable[[str, int, int], None]
"""Called with a label, items done and items in all."""

FINE = "fine_grained_perception"

TRACKS: dict[str, Callable[[int, int], Iterator[Item]]] = {
    FINE: scenes.items,
    "multimodal_long_document": reports.items,
    "multimodal_instruction_following": texts.items,
}
"""File stems of the tracks and what yields their items."""

MANIFEST = "manifest.json"


def build(
    out: Path,
    seed: int,
    per_track: int,
    progress: Report | None = None,
    per_image: tuple[int, ...] = scenes.PER_IMAGE,
) -> Manifest:
    """Write all tracks and their files to a folder.

    Args:
        out: The folder; made if it is missing. Files of an earlier build are removed.
        seed: Decides everything; `EVAL_SEED` is for evaluation only.
        per_track: Items of each track.
        progress: Told about every item.
        per_image: Questions per picture, in turns; more of them for training data.

    Returns:
        The manifest, which is also written to ``manifest.json``.
    """
    out.mkdir(parents=True, exist_ok=True)
    for folder in ("images", "documents"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir()
    files: dict[str, dict[str, Any]] = {}
    counts = {}
    for track in TRACKS:
        items = TRACKS[track](seed, per_track)
        if track == FINE:
            items = scenes.items(seed, per_track, per_image)
        made = _write_track(out, track, items, per_track, files, progress)
        counts[track] = _counts(made)
    manifest = {
        "name": "armbench_mini",
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "per_track": per_track,
        "libraries": {"reportlab": str(reportlab.Version), "zlib": zlib.ZLIB_RUNTIME_VERSION},
        "legibility": _legibility(),
        "counts": counts,
        "files": dict(sorted(files.items())),
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _write_track(
    out: Path,
    track: str,
    items: Iterator[Item],
    per_track: int,
    files: dict[str, dict[str, Any]],
    progress: Report | None,
) -> list[Item]:
    """Write a track's rows and the files they need, noting each in `files`."""
    made = []
    for item in items:
        for asset in item.assets:
            if asset.path not in files:
                files[asset.path] = _write_asset(out, asset)
        made.append(item)
        if progress:
            progress(track, len(made), per_track)
    lines = [json.dumps(item.row(), ensure_ascii=False) for item in made]
    data = "".join(line + "\n" for line in lines).encode()
    (out / f"{track}.jsonl").write_bytes(data)
    files[f"{track}.jsonl"] = _entry(data)
    return made


def _entry(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _write_asset(out: Path, asset: Asset) -> dict[str, Any]:
    path = out / asset.path
    made = asset.make()
    if isinstance(made, bytes):
        path.write_bytes(made)
        return {**_entry(made), "content": asset.content() if asset.content else ""}
    made.save(path, "PNG", compress_level=9)
    entry = {**_entry(path.read_bytes()), "pixels": pixel_hash(made)}
    return {**entry, "size": list(made.size)}


def pixel_hash(image: Image.Image) -> str:
    """Hash of a picture's RGB pixels, whichever compressor stored them."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def _counts(items: list[Item]) -> dict[str, Any]:
    formats = Counter(item.rm_tag for item in items)
    verdicts = Counter((item.rm_tag, item.gt) for item in items)
    return {
        "items": len(items),
        "clusters": len({item.cluster for item in items}),
        "format": dict(sorted(formats.items())),
        "gt": {
            tag: {gt: many for (t, gt), many in sorted(verdicts.items()) if t == tag}
            for tag in sorted(formats)
        },
        "category": dict(sorted(Counter(item.category for item in items).items())),
    }


def _legibility() -> dict[str, Any]:
    worst = {kind: legibility.worst_contrasts(kind, (0, 1)) for kind in legibility.KINDS}
    return {
        "view_pixels": scenes.VIEW_PIXELS,
        "least_difference_full": {kind: round(w.full) for kind, w in worst.items()},
        "largest_difference_view": {kind: round(w.view) for kind, w in worst.items()},
    }


def stored_differences(folder: Path, manifest: Manifest) -> list[str]:
    """What in a folder is not as its manifest says, in words."""
    found = []
    for path, entry in manifest["files"].items():
        file = folder / path
        if not file.is_file():
            found.append(f"{path} is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
            found.append(f"{path} was changed")
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    extra = present - set(manifest["files"]) - {MANIFEST}
    return found + [f"{path} is not in the manifest" for path in sorted(extra)]


def manifest_differences(old: Manifest, new: Manifest) -> list[str]:
    """Where two builds differ in content, in words.

    Compressed bytes count only between builds with equal libraries; pixels, text and
    positions always do.
    """
    keys = ("generator_version", "seed", "per_track", "counts")
    found = [f"{key} differs" for key in keys if old[key] != new[key]]
    same = old["libraries"] == new["libraries"]
    for path in sorted({*old["files"], *new["files"]}):
        a, b = old["files"].get(path), new["files"].get(path)
        if a is None or b is None:
            found.append(f"{path} is in one build only")
            continue
        core = next((key for key in ("pixels", "content") if key in a), "sha256")
        if a.get(core) != b.get(core) or (same and a["sha256"] != b["sha256"]):
            found.append(f"{path} differs")
    return found


def check(folder: Path, progress: Report | None = None) -> list[str]:
    """Build a folder's set again and compare; returns the differences in words."""
    manifest: Manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        again = build(Path(temporary), manifest["seed"], manifest["per_track"], progress)
    return stored_differences(folder, manifest) + manifest_differences(manifest, again)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build or check the bundled benchmark.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder to write to")
    what.add_argument("--check", type=Path, metavar="DIR", help="folder to build again and compare")
    parser.add_argument("--seed", type=int, default=EVAL_SEED)
    parser.add_argument("--per-track", type=int, default=200)
    options = parser.parse_args(arguments)
    with Progress(transient=True) as bar:
        tasks = {track: bar.add_task(track, total=None) for track in TRACKS}

        def show(track: str, done: int, total: int) -> None:
            bar.update(tasks[track], completed=done, total=total)

        if options.check:
            differences = check(options.check, show)
        else:
            manifest = build(options.out, options.seed, options.per_track, show)
    if options.check:
        print("\n".join(differences) or "identical")
        return 1 if differences else 0
    for track, counts in manifest["counts"].items():
        print(f"{track}: {counts['items']} items, {counts['format']}")
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"{len(manifest['files'])} files, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
