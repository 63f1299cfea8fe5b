#!/usr/bin/env python3
"""Writes fixture.tfevents with TensorBoard's own writer (pip install tensorboard==2.21.0): the test beside it
expects the same bytes."""

import pathlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

values = [
    Summary.Value(tag="training_loss/worker-0", simple_value=2.25),
    Summary.Value(tag="learning_rate/worker-0", simple_value=0.1),
    Summary.Value(tag="error/replica_mean", simple_value=float("nan")),
]
with open(pathlib.Path(__file__).parent / "fixture.tfevents", "wb") as file:
    writer = RecordWriter(file)
    for event in [
        Event(wall_time=1700000000.5, file_version="brain.Event:2"),
        Event(wall_time=1700000001.25, step=300, summary=Summary(value=values)),
        Event(wall_time=1700000002.0, step=301, session_log=SessionLog(status=SessionLog.START)),
    ]:
        writer.write(event.SerializeToString())
    writer.flush()
