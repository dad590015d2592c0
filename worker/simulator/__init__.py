"""A local look-alike of Seam: stateful, seeded, with faults to order, and with a log that tells the truth.

For rehearsals and tests. In a process of its own it is `assign-worker simulate`; in a test:

    async with Simulator(SimulatorSettings(seed=7)).serve() as server:
        ...  # server.url, server.api_key, server.events()
"""

from worker.simulator.fault_settings import ErrorForm, Fault, Faults, ReadFault, ReadFaults
from worker.simulator.server import RunningSimulator, Simulator
from worker.simulator.settings import (
    API_KEY,
    WORKSPACE_ID,
    Access,
    Latency,
    Limit,
    LimitKind,
    LimitScope,
    LimitStep,
    LogDetail,
    Outage,
    OutageMode,
    RetryAfterForm,
    SimulatorSettings,
    VoidForm,
    World,
)

__all__ = [
    "API_KEY",
    "WORKSPACE_ID",
    "Access",
    "ErrorForm",
    "Fault",
    "Faults",
    "Latency",
    "Limit",
    "LimitKind",
    "LimitScope",
    "LimitStep",
    "LogDetail",
    "Outage",
    "OutageMode",
    "ReadFault",
    "ReadFaults",
    "RetryAfterForm",
    "RunningSimulator",
    "Simulator",
    "SimulatorSettings",
    "VoidForm",
    "World",
]
