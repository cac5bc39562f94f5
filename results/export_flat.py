"""The frames of a run as files: JSON lines, CSV, Parquet."""

from __future__ import annotations

from pathlib import Path

from armbench.results.formats import as_csv
from armbench.results.frames import read_frames


def write_flat(path: Path, out: Path, to: str, table: str) -> int:
    """Write one frame of a run; its columns are described in `armbench.results.frames`.

    Returns:
        How many rows were written.

    Raises:
        ConfigError: If the run cannot be read or is empty.
        OSError: If `out` cannot be written.
    """
    frame = getattr(read_frames(path), table)
    if to == "parquet":
        frame.to_parquet(out, index=False)
    elif to == "jsonl":
        with out.open("w", encoding="utf-8", newline="\n") as handle:
            if len(frame):  # pandas writes a blank line for no rows
                frame.to_json(
                    handle, orient="records", lines=True, force_ascii=False, double_precision=15
                )
    else:
        rows = frame.astype(object).where(frame.notna(), None)
        text = as_csv(list(frame.columns), rows.itertuples(index=False, name=None))
        with out.open("w", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
    return len(frame)
