"""Where the time of a whole job goes: ten jobs one after the other through a running mesh, by stage.

scratch3d up &            # or any mesh
python benchmarks/stages.py [--url …] [--quality auto]
"""

import argparse
from statistics import median

from machine import describe

from scratch3d.client import Client

PROMPT = "a red cube on a wooden cylinder"
STAGES = ("generating_images", "reconstructing_3d", "post_processing")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--quality", default="auto")
    parser.add_argument("--jobs", type=int, default=10)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in (*STAGES, "everything else", "whole job")}
    with Client(arguments.url) as client:
        client.wait(client.generate(PROMPT, quality_tier=arguments.quality).job_id)  # warms the kernels
        for _ in range(arguments.jobs):
            done = client.wait(client.generate(PROMPT, quality_tier=arguments.quality).job_id)
            whole = (done.finished_at or 0.0) - done.created_at
            seconds = {stage.stage.value: stage.duration_s or 0.0 for stage in done.stages}
            for name in STAGES:
                found[name].append(seconds[name])
            found["everything else"].append(whole - sum(seconds.values()))
            found["whole job"].append(whole)
    total = median(found["whole job"])
    print(describe())
    print(f"{'stage':<22}{'median s':>10}{'share':>8}")
    for name, values in found.items():
        print(f"{name:<22}{median(values):>10.3f}{median(values) / total:>8.0%}")


if __name__ == "__main__":
    main()
