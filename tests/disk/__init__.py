"""Full disks, disks that fail, and power that goes: what was recorded stays, and the same command goes on."""
