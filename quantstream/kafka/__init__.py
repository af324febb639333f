"""The only door to Kafka: declared topics, batch readers, transactional writers and the one consuming stage."""

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Message

from quantstream.kafka.admin import ensure_topics, group_lag, partition_counts
from quantstream.kafka.connection import Partition
from quantstream.kafka.message_values import Record, contents, header_texts, next_offsets, record, sent_at
from quantstream.kafka.reader import BATCH, TRANSACTION_PATIENCE, Reader
from quantstream.kafka.stage import PartitionedStage
from quantstream.kafka.writer import ANY_PARTITION, Writer

__all__ = [
    "ANY_PARTITION",
    "BATCH",
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "TRANSACTION_PATIENCE",
    "Message",
    "Partition",
    "PartitionedStage",
    "Reader",
    "Record",
    "Writer",
    "contents",
    "ensure_topics",
    "group_lag",
    "header_texts",
    "next_offsets",
    "partition_counts",
    "record",
    "sent_at",
]
