"""What each open page holds on the server: its input, its changes, its own turn."""

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor

from convscope.errors import ArgumentError

MOST = 64  # pages open at once; the one that was quiet longest is forgotten
IDLE = 1800.0  # seconds without a request after which a page is forgotten


@dataclass(eq=False)
class Session:
    """One open page; requests of it are answered one after the other.

    Attributes:
        name: Secret, made by the server.
        x: Its last input, (1, C, H, W) as the network takes it; None before the first.
        sequence: Of that input; older ones that arrive late are dropped.
        seen: When it was last heard of, on the monotonic clock.
        lock: Held while a request of it is answered.
    """

    name: str
    x: Tensor | None = None
    sequence: int = -1
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

    def _forget_idle(self) -> None:
        now = time.monotonic()
        for name, session in list(self._open.items()):
            if now - session.seen > self.idle:
                del self._open[name]
