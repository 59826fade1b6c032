"""What a benchmark writes down: ratios against a peer timed in turn, curves with their exponents, and what failed.

A `Record` is one JSON file: "machine" and "date", "figures" (a ratio with its quartiles), "curves" (seconds over N, D, ...
with an exponent and its interval), "numbers" (what is no ratio: an error, gigabytes, evaluations), "checks" ("ok" or what
went wrong) and "failed" (a measurement's error line).
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import torch
from scipy.stats import linregress, t

Call = Callable[[], object]


class Record:
    """The measurements of one device.

    seconds   how long each number is measured, at least `LEAST` calls, at most `MOST`
    path      the file that is written after each measurement, None for none
    """

    LEAST, MOST = 3, 40

    def __init__(self, device: torch.device, seconds: float = 1.0, path: Path | None = None):
        self.device, self.seconds, self.path = device, seconds, path
        self.content = {"machine": machine(device), "date": date.today().isoformat(), "figures": {}, "curves": {},
                        "numbers": {}, "checks": {}, "failed": {}, "seconds": {}}

    def clock(self, call: Call) -> float:
        """Seconds of a call: until a GPU is done; on a CPU the seconds of this process, which other programs leave alone."""
        if self.device.type != "cuda":
            start = time.process_time()
            call()
            return time.process_time() - start
        torch.cuda.synchronize(self.device)
        start = time.perf_counter()
        call()
        torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def times(self, *calls: Call, seconds: float | None = None) -> list[tuple[float, ...]]:
        """The seconds of each call, in turn, so that what disturbs one disturbs its neighbors; after one call each."""
        for call in calls:
            call()
        found, start = [], time.perf_counter()
        while len(found) < self.LEAST or (len(found) < self.MOST
                                          and time.perf_counter() - start < (self.seconds if seconds is None else seconds)):
            found.append(tuple(self.clock(call) for call in calls))
        return found

    def ratio(self, name: str, what: str, against: str, ours: Call, peer: Call, goal: str = "", times: float = 1.0,
              seconds: float | None = None) -> None:
        """The figure `ours` / (times * `peer`), its median and quartiles; below 1 ours is the faster."""
        pairs = self.times(ours, peer, seconds=seconds)
        self.figure(name, what, against, [(a, times * b) for a, b in pairs], goal)

    def figure(self, name: str, what: str, against: str, pairs: list[tuple[float, float]], goal: str = "") -> None:
        """A figure of seconds (ours, peer's) that were taken together."""
        low, middle, high = quartiles([a / b for a, b in pairs])
        self.content["figures"][name] = {
            "what": what, "against": against, "ratio": _short(middle), "low": _short(low), "high": _short(high),
            "seconds": _short(statistics.median(a for a, _ in pairs)),
            "peer_seconds": _short(statistics.median(b for _, b in pairs)), "repeats": len(pairs), "goal": goal}

    def curve(self, name: str, variable: str, make: Callable[[int], Call], at: Iterable[int], last: int = 4) -> None:
        """Seconds of make(x)() for each x, and the exponent over the `last` points. It ends where memory does."""
        points = []
        for x in at:
            try:
                call = make(x)
                points.append((x, *quartiles([t for t, in self.times(call, seconds=self.seconds / 4)])))
            except RuntimeError as error:
                self.content["failed"][f"{name}, {variable} = {x}"] = line(error)
                break
            finally:
                call = None
                self.tidy()
        xs, lows, middles, highs = ([_short(p[i]) for p in points] for i in range(4))
        slope, low, high = (_short(value) for value in exponent(xs[-last:], middles[-last:]))
        self.content["curves"][name] = {"variable": variable, "x": xs, "seconds": middles, "low": lows, "high": highs,
                                        "fitted": len(xs[-last:]), "exponent": slope, "exponent_low": low,
                                        "exponent_high": high}

    def number(self, name: str, value: float, unit: str) -> None:
        self.content["numbers"][name] = {"value": _short(value), "unit": unit}

    def check(self, name: str, act: Call) -> None:
        """"ok", or what `act` raised."""
        try:
            act()
            self.content["checks"][name] = "ok"
        except Exception as error:                                    # whatever it is, the page says it
            self.content["checks"][name] = line(error)

    def tidy(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def run(self, measurements: dict[str, Callable[["Record"], None]], deadline: float = math.inf) -> None:
        """Each measurement, one after the other; one that fails leaves its error line, and the others go on."""
        begun = time.perf_counter()
        for name, measure in measurements.items():
            start = time.perf_counter()
            if start - begun > deadline:
                self.content["failed"][name] = f"left out: {deadline:.0f} s were over"
                continue
            try:
                measure(self)
            except Exception as error:
                self.content["failed"][name] = line(error)
            self.tidy()
            self.content["seconds"][name] = _short(time.perf_counter() - start)
            self.write()

    def go_on(self, path: Path) -> None:
        """Keep what a file has, so that some of it can be measured again. ValueError if another machine wrote it."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["machine"] != self.content["machine"]:
            raise ValueError(f"{path.name} was written on another machine, or by other versions: measure everything again")
        self.content = kept | {"date": self.content["date"], "failed": {}}

    def lines(self) -> list[str]:
        """What was found, a line each."""
        found = [f"{f['ratio']:8.3g} [{f['low']:.3g}, {f['high']:.3g}]  {f['what']} / {f['against']}"
                 + (f"; wanted {f['goal']}" if f["goal"] else "") for f in self.content["figures"].values()]
        found += [f"{name}: exponent {curve['exponent']} [{curve['exponent_low']}, {curve['exponent_high']}]"
                  for name, curve in self.content["curves"].items()]
        return found + [f"{name}: {entry['value']} {entry['unit']}" for name, entry in self.content["numbers"].items()]

    def write(self) -> None:
        if self.path is not None:
            text = json.dumps(self.content, indent=1, sort_keys=True) + "\n"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text, encoding="utf-8")


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def exponent(xs: list[float], ys: list[float]) -> tuple[float, float, float]:
    """The slope of log y over log x by least squares, and its 95 % interval; NaN for what too few points do not give."""
    if len(xs) < 2:
        return math.nan, math.nan, math.nan
    found = linregress([math.log(x) for x in xs], [math.log(max(y, 1e-12)) for y in ys])
    half = t.ppf(0.975, len(xs) - 2) * found.stderr if len(xs) > 2 else math.nan
    return float(found.slope), float(found.slope - half), float(found.slope + half)


def machine(device: torch.device) -> dict:
    """What computed: the card or the processor, its cores, the threads that torch used, and the versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {"device": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
            "python": platform.python_version(), "system": platform.system()}


def processor(listing: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as well as the system knows it."""
    if listing.exists():
        for row in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def line(error: Exception) -> str:
    """The first line of an error, with its kind."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"


def _short(value: float) -> float | None:
    """Four significant digits; None for what is no number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
