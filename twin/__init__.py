"""What a twin is: types, readings, state arenas. Pure: no clock, no I/O, no Kafka, no torch."""
