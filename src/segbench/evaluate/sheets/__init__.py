"""Tables with intervals, a module each: pure functions of stored rows."""
