"""The pipelines that Airflow schedules: backfill, validation, training, proof, repair, compaction."""
