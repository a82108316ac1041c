"""The wire formats of telemetry and events: JSON, CloudEvents and Arrow in; readings, tables of readings and events out."""
