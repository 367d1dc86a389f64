"""What a server costs beside the engine in it: started as users start it, asked over loopback as clients ask.

run ─┬─ process      `segbench serve` in a process of its own, its memory watched
     ├─ mlserver     the same graph behind MLServer, in an environment of its own
     ├─ payload      requests as bytes, made once; answers as arrays
     ├─ load         clients, in one process of their own ── wire
     └─ row ── summary ── sheet, chart      pure functions of rows
"""
