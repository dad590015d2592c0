"""Every way in which the service, the network and the wire may fail, through `run_batch` over real sockets."""
