"""What each open page holds on the server: its input, its changes, its own turn."""

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor, nn

from convscope.errors import ArgumentError
from convscope.serve.edits import Change
from convscope.serve.forward import Values

MOST = 64  # pages open at once; the one that was quiet longest is forgotten
MOST_VALUES = 512 * 2**20  # bytes of values that all pages hold together
IDLE = 1800.0  # seconds without a request after which a page is forgotten


@dataclass(eq=False)
class Session:
    """One open page; requests of it are answered one after the other.

    Attributes:
        name: Secret, made by the server.
        x: Its last input, (1, C, H, W) as the network takes it; None before the first.
        sequence: Of that input; older ones that arrive late are dropped.
        changes: What differs from the run, in order.
        net: The network with these changes; None without any.
        values: What it gave for the last input; forgotten where memory is short.
        seen: When it was last heard of, on the monotonic clock.
        lock: Held while a request of it is answered.
    """

    name: str
    x: Tensor | None = None
    sequence: int = -1
    changes: tuple[Change, ...] = ()
    net: nn.Module | None = None
    values: Values | None = None
    seen: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """The open pages, the one heard of last at the end."""

    def __init__(self, most: int = MOST, idle: float = IDLE) -> None:
        self.most, self.idle = most, idle
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self) -> Session:
        """A new session; makes room if there are too many."""
        with self._lock:
            self._forget_idle()
            while len(self._open) >= self.most:
                self._open.popitem(last=False)
            session = Session(secrets.token_urlsafe(16))
            self._open[session.name] = session
            return session

    def get(self, name: str) -> Session:
        """The session of that name.

        Raises:
            ArgumentError: There is none: it was forgotten, or never was.
        """
        with self._lock:
            self._forget_idle()
            if name not in self._open:
                raise ArgumentError(
                    "play: this page was forgotten by the server, which was started "
                    "again or holds too many. Reload the page."
                )
            session = self._open[name]
            session.seen = time.monotonic()
            self._open.move_to_end(name)
            return session

    def trim(self, current: Session) -> None:
        """Forgets values of other pages, those quiet longest first, until all fit."""
        with self._lock:
            held = [one for one in self._open.values() if one.values is not None]
            total = sum(one.values.bytes for one in held if one.values is not None)
            for one in held:
                if total <= MOST_VALUES or one is current or one.values is None:
                    continue
                total -= one.values.bytes
                one.values = None

    def _forget_idle(self) -> None:
        now = time.monotonic()
        for name, session in list(self._open.items()):
            if now - session.seen > self.idle:
                del self._open[name]
