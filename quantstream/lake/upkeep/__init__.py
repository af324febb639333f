"""What keeps the tables small, whole, restorable and of today's shape: compaction, backups, migration."""
