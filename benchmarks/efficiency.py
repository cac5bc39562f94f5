"""How near the harness comes to the server's own time, beside a thread pool and lmms-eval.

A stub in another process answers every request after a fixed time. Episodes are whole ones, as
``armbench run`` makes them: two calls of text tools, a verdict, scoring, the log on disk. The
ideal wall is that of a harness which costs nothing: rounds of `--in-flight` episodes, three
replies each. Efficiency is ideal / wall. CPU is that of this process, all threads; the stub's is
shown too, since it runs on the same machine.

Peers, in the same run and against the same stub:

* *thread pool*: the plain openai client in as many threads, the same bodies, ready-made.
* *async_openai*: lmms-eval's model of that name, in a process of its own. Its requests are one
  turn each (its loop with tools wants a tool server and drops results), so it is given all turns
  of all episodes at once: as many requests with the same messages, none waiting for another.

Targets: efficiency 0.9 at 256 in flight, 3 ms of CPU an episode.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.overhead import TEXT, Kind, bodies_of, harness, text_plans, text_script
from benchmarks.stub import ROOT, Stub, stub

KIND = Kind("text, 3 turns", TEXT, text_script, text_plans)
LEAST, MOST_CPU, AT = 0.9, 3.0, 256
HEADS = ("in flight", "who", "episodes", "wall s", "ideal s", "efficiency", "CPU ms", "stub CPU ms")


def thread_pool(bodies: list[dict[str, Any]], url: str, episodes: int, flight: int) -> Any:
    """Wall and CPU seconds of the openai client in threads."""
    import openai

    with openai.OpenAI(base_url=url, api_key="none", timeout=60) as client:

        def one(_: int) -> None:
            for body in bodies:
                answer = client.chat.completions.create(**body)
                assert answer.choices[0].message.content

        wall, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(flight) as pool:
            list(pool.map(one, range(episodes)))
        return time.perf_counter() - wall, time.process_time() - cpu


def async_openai(url: str, episodes: int, flight: int, bodies: list[dict[str, Any]]) -> Any:
    """The same of lmms-eval's model; call it in a process of its own."""
    from lmms_eval.api.instance import Instance
    from lmms_eval.models.chat.async_openai import AsyncOpenAIChat

    model = AsyncOpenAIChat(model="stub", base_url=url, api_key="none", num_cpus=flight)
    rows = [
        [_as_lmms(message) for message in body["messages"]]
        for body in bodies
        for _ in range(episodes)
    ]
    model.task_dict = {"t": {"test": rows}}

    def instance(n: int) -> Any:
        arguments = (f"{n}", lambda row: row, {"max_new_tokens": 16}, n, "t", "test")
        return Instance("generate_until", arguments, n, {"task": "t", "doc_id": n, "repeats": 1})

    requests = [instance(n) for n in range(len(rows))]
    wall, cpu = time.perf_counter(), time.process_time()
    replies = model.generate_until(requests)
    took = time.perf_counter() - wall, time.process_time() - cpu
    assert all(reply.text and "FAILED" not in reply.text for reply in replies)
    return took


def _as_lmms(message: dict[str, Any]) -> dict[str, Any]:
    role = message["role"] if message["role"] != "tool" else "user"  # it knows no tool role
    return {"role": role, "content": [{"type": "text", "text": message["content"]}]}


def apart(bodies: list[dict[str, Any]], url: str, episodes: int, flight: int) -> Any:
    """`async_openai` in a process of its own; None if it cannot be run."""
    asked = json.dumps([url, episodes, flight, bodies])
    command = [sys.executable, "-m", "benchmarks.efficiency", "--lmms"]
    done = subprocess.run(
        command, input=asked, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"async_openai: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def ours(server: Stub, folder: Path, episodes: int, flight: int) -> tuple[float, float]:
    """Wall and CPU seconds of the harness."""
    cost = harness(KIND, server.url, folder, episodes, flight)
    return cost.wall * episodes / 1000, cost.cpu * episodes / 1000


def rows_of(server: Stub, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure everyone at every number in flight, `--rounds` times in turn; the median round."""
    bodies = bodies_of(KIND, folder)
    found = []
    for flight in args.in_flight:
        # One at a time would take minutes for all.
        episodes = min(args.episodes, max(8, 32 * flight))
        ideal = len(bodies) * args.delay * math.ceil(episodes / flight)
        who = {
            "armbench": lambda n=episodes, f=flight: ours(server, folder, n, f),
            "thread pool": lambda n=episodes, f=flight: thread_pool(bodies, server.url, n, f),
            "async_openai": lambda n=episodes, f=flight: apart(bodies, server.url, n, f),
        }
        if args.alone:
            who = {"armbench": who["armbench"]}
        elif find_spec("lmms_eval") is None:
            del who["async_openai"]
        rounds: dict[str, list[Any]] = {name: [] for name in who}
        for _ in range(args.rounds if flight > 16 else 1):
            for name, measure in who.items():
                server.reset()
                took = measure()
                if took is not None:
                    rounds[name].append((*took, server.stats()["cpu"]))
        for name, times in rounds.items():
            if not times:
                continue
            wall, cpu, stub_cpu = sorted(times)[len(times) // 2]
            row = (flight, name, episodes, wall, ideal, ideal / wall)
            each = (1000 * cpu / episodes, 1000 * stub_cpu / episodes)
            found.append(dict(zip(HEADS, (*row, *each), strict=True)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds of a reply (0.2)")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=3, help="of each, above 16 in flight")
    parser.add_argument("--alone", action="store_true", help="no peers")
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--lmms", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.lmms:
        with contextlib.redirect_stdout(sys.stderr):
            took = async_openai(*json.load(sys.stdin))
        print(json.dumps(took))
        return 0
    with tempfile.TemporaryDirectory() as folder, stub(TEXT, delay=args.delay) as server:
        ours(server, Path(folder), 16, 16)  # imports and first use are not counted
        found = rows_of(server, Path(folder), args)
    print(f"$ python -m benchmarks.efficiency {' '.join(sys.argv[1:])}".rstrip())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}; a reply takes {args.delay:g} s\n")
    formats = ("d", "", "d", ".2f", ".2f", ".2f", ".2f", ".2f")
    print(tabulate([list(row.values()) for row in found], HEADS, floatfmt=formats))
    aimed = [row for row in found if row["who"] == "armbench" and row["in flight"] == AT]
    missed = [r for r in aimed if not (r["efficiency"] >= LEAST and r["CPU ms"] <= MOST_CPU)]
    verdict = ("missed" if missed else "met") if aimed else "not measured"
    print(f"\ntarget: {LEAST} and {MOST_CPU:g} ms at {AT}: {verdict}")
    return int(args.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
