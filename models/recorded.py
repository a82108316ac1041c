"""A scoring pass as one call: its operations recorded once, then run by torch alone.

In:   a `ScoringPass` on a CPU.
Out:  the same as TorchScript, where it gives every row the same bits; else the pass as it was.

Why: in Python each of a pass's two hundred operations gives the interpreter's lock away and has to win it back from the thread
that folds the next micro-batch meanwhile, which keeps it for a whole switch interval each time. So scoring stood still while
anything was folded. Recorded, a micro-batch's scoring takes the lock once a twin type.

TorchScript is deprecated in torch, and not supported from Python 3.14 on; nothing else in torch runs a module without the
interpreter and without a C++ compiler on the machine. Where it is gone, scores are the same, and a backlog takes longer.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import scripted
from models.detectors import Detectors
from models.passes import CONTEXTS, MANY, WIDE
from models.scoring_pass import Compare, Forecast, Scale, ScoringPass, scoring_pass
from models.windows import CALENDAR_FEATURES

log = logging.getLogger(__name__)

warnings.filterwarnings("ignore", "`torch.jit.* is (deprecated|not supported)", FutureWarning)
_ONE_AT_A_TIME = threading.Lock()  # what is being recorded stands in a registry of the whole interpreter
TIMES = 3  # runs that are compared: TorchScript looks at the first, and runs what it made of them from the second on


def recorded(detectors: Detectors, *, widths: Sequence[int], period_ns: int) -> nn.Module:
    """The scoring pass of a version: recorded where that gives the same bits, else as Python. Takes some 0.1 s."""
    plain = scoring_pass(detectors, widths=list(widths), period_ns=period_ns)
    if detectors.loc.device.type != "cpu":
        return plain
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode(), _ONE_AT_A_TIME:
        try:
            found = _on_its_own(_record(plain, detectors, draw))
            _forget()
            alike = all(_alike(plain, found, _windows(detectors, rows, period_ns, draw)) for rows in (5, CONTEXTS, MANY + WIDE))
        except Exception as error:  # noqa: BLE001 - whatever a torch without TorchScript, or with another one, raises
            log.warning("scoring-not-recorded", extra={"found": repr(error)[:500], "expected": "TorchScript"})
            return plain
    if not alike:
        log.warning("scoring-not-recorded", extra={"found": "other bits", "expected": "the bits of the operations one by one"})
    return found if alike else plain


def _record(plain: ScoringPass, detectors: Detectors, draw: torch.Generator) -> nn.Module:
    a = detectors.architecture
    rows, windows, quality, _, now, _ = _windows(detectors, CONTEXTS, 1, draw)
    x, good = plain.scale(rows, windows, quality)
    newest = x[:, -plain.look :], good[:, -plain.look :]
    contexts, seen = x[:, : plain.reach], good[:, : plain.reach]
    made = [
        torch.randn(CONTEXTS, *shape, generator=draw) for shape in ((a.channels,), (a.channels,), *[(a.horizons, a.channels)] * 2)
    ]

    def trace(module: nn.Module, *inputs: Tensor) -> nn.Module:
        traced: nn.Module = torch.jit.trace(module.eval(), inputs, check_trace=False)  # type: ignore[no-untyped-call]
        return traced

    one = ScoringPass(
        trace(Scale(detectors), rows, windows, quality),
        trace(Forecast(detectors), rows, contexts, seen, now),
        trace(Compare(detectors, explains=False), rows, *newest, now, *made),
        trace(Compare(detectors, explains=True), rows, *newest, now, *made),
        widths=plain.widths,
        reach=plain.reach,
        lag=plain.lag,
        look=plain.look,
        period_ns=plain.period_ns,
    )
    script: nn.Module = torch.jit.script(one.eval())
    return script


def _on_its_own(script: nn.Module) -> nn.Module:
    """The same, of the same tensors, with its code in a unit of its own, which goes when the version goes.

    What is recorded stands in the interpreter's unit, with all that torch made of it, for as long as the process lives: 14 MiB a
    version.
    """
    code = io.BytesIO()
    torch.jit.save(script, code)
    code.seek(0)
    found: nn.Module = torch.jit.load(code)  # type: ignore[no-untyped-call]
    tensors = {**dict(script.named_parameters()), **dict(script.named_buffers())}
    for name, copied in (*found.named_parameters(), *found.named_buffers()):
        copied.set_(tensors[name])  # type: ignore[call-overload]
    return found


def _forget() -> None:
    """Empty the interpreter's unit, as `torch.testing` does between its tests: nothing that runs stands in it."""
    scripted.forget()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()
    torch._C._jit_clear_class_registry()


def _windows(detectors: Detectors, count: int, period_ns: int, draw: torch.Generator) -> list[Tensor]:
    """Windows as they may come: steps of one twin in a row, which share forecasts, then others; a few cells not good."""
    a, window = detectors.architecture, detectors.layout.window
    rows = torch.cat([torch.zeros(count // 2, dtype=torch.int64), torch.randint(a.twins, (count - count // 2,), generator=draw)])
    series = torch.randn(count + window - 1, a.channels, generator=draw)
    bad = (torch.rand(count + window - 1, a.channels, generator=draw) < 0.02).to(torch.uint8)
    windows, quality = (one.unfold(0, window, 1).transpose(1, 2) for one in (series, bad))
    windows = windows * detectors.scale[rows][:, None] + detectors.loc[rows][:, None]
    calendars = [torch.randn(count, CALENDAR_FEATURES, generator=draw) for _ in range(2)]
    return [rows, windows, quality.contiguous(), torch.arange(count) * period_ns, *calendars]


def _alike(plain: nn.Module, found: nn.Module, inputs: list[Tensor]) -> bool:
    def bits(module: nn.Module, explained: bool) -> bytes:
        of: Tensor = module(*inputs, explained)
        return of.numpy().tobytes()

    return all(bits(found, explained) == bits(plain, explained) for explained in (False, True) for _ in range(TIMES))
