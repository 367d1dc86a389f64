"""The server: the Open Inference Protocol v2 over HTTP and gRPC, in front of one queue for all clients.

http, grpc          what comes over the wire, to and from `request`
  │  Service        the one door that both go through
service             models, queue and worker put together
  ├─ models         loaded, reloaded and unloaded without losing a request
  ├─ queue          bounded, fair between clients
  └─ worker         runs what is waiting on the engines
"""
