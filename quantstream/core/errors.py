"""Errors named by the reaction they ask for, so that a caller never has to look inside a library's exceptions.

QuantStreamError
├── BadRecord       dead-letter it, count it, go on
├── Unavailable     back off and try again
│   ├── Fenced      drop the work in hand and go on from what is committed
│   └── Unfetched   keep the champion, look after the others, and try it again
├── Broken          end this process; its successor goes on from what is committed
├── DataRejected    stop the pipeline, keep the champion
├── ModelRejected   keep the champion
└── Misconfigured   say what is wrong and how to fix it; exit 2 before the first message
"""


class QuantStreamError(Exception):
    """Base of all; its text is one sentence that a person can act on."""


class BadRecord(QuantStreamError):
    """A record that nobody can parse: it goes to the dead-letter topic and the stage goes on."""


class Unavailable(QuantStreamError):
    """Something outside does not answer now; the same call may succeed later."""


class Fenced(Unavailable):
    """Partitions, or a table, moved on to another process before this one committed: its work on them does not count."""


class Unfetched(Unavailable):
    """The registry answers, but a version's files cannot be had now; the one in service stays."""


class Broken(QuantStreamError):
    """What this process holds can no longer be carried on safely: end it, its successor starts from what is committed."""


class DataRejected(QuantStreamError):
    """Data that must not train a model: too little, broken or failing its expectations."""


class ModelRejected(QuantStreamError):
    """A model that must not go live, or that does not load; the one in service stays."""


class Misconfigured(QuantStreamError):
    """A setting, a file or an argument is wrong; nothing was started."""
