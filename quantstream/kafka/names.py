"""Names as the broker knows them: of topics, groups and transactions, with the prefix of this system before each.

Two systems may share a broker, as one that was restored beside the live one. All code goes by the declared names; only what is
said to the broker, or heard from it, passes through here.
"""

from __future__ import annotations

from quantstream.settings import Kafka


def broker_name(kafka: Kafka, declared: str) -> str:
    """Return the broker's name of a topic, group or transaction of this system."""
    return kafka.topic_prefix + declared


def declared_name(kafka: Kafka, name: str) -> str:
    """Return what is declared for a name of the broker."""
    return name.removeprefix(kafka.topic_prefix)


def is_ours(kafka: Kafka, name: str) -> bool:
    """Tell whether a name of the broker may be this system's; without a prefix every one may."""
    return name.startswith(kafka.topic_prefix)
