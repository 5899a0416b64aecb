"""Watches a process under load: fails if its memory grows steadily, or if it keeps descriptors once its clients have gone.

    watch.py PID SECONDS DONE       DONE is a file that appears when the clients have ended

Memory grows at first, as buffers and pools fill, and it moves up and down with the load. A leak is what is left: each third
of the time, the first quarter of it apart, has a higher median than the one before, and the last is well above the first.
"""

import os
import statistics
import sys
import time

# What a third may be above the first without suspicion: a part of it, and KiB.
TOLERATED, SLACK = 0.10, 8 * 1024
# Log segments and the like, opened on first use.
DESCRIPTORS = 8


def main(pid, seconds, done):
    at_first = descriptors(pid)
    samples = []
    start = time.monotonic()
    while not os.path.exists(done):
        samples.append((resident(pid), descriptors(pid)))
        if len(samples) % 30 == 1:
            print(f"watch: {time.monotonic() - start:.0f}s of {seconds}: {samples[-1][0] / 1024:.1f} MiB, {samples[-1][1]} descriptors", flush=True)
        time.sleep(1)
    time.sleep(5)
    at_last = descriptors(pid)

    steady = [memory for memory, _ in samples[len(samples) // 4 :]]
    third = max(1, len(steady) // 3)
    first, second, last = (statistics.median(steady[n * third : (n + 1) * third] or steady) for n in range(3))
    print(f"watch: memory {first / 1024:.1f}, {second / 1024:.1f}, {last / 1024:.1f} MiB; descriptors {at_first} before, {at_last} after")
    grows = first < second < last and last > first * (1 + TOLERATED) + SLACK
    leaks = at_last > at_first + DESCRIPTORS
    if grows:
        print("watch: FAILED: memory grows steadily")
    if leaks:
        print("watch: FAILED: descriptors are left open")
    return 1 if grows or leaks else 0


def resident(pid):
    """KiB."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    sys.exit("watch: FAILED: the process has ended")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
