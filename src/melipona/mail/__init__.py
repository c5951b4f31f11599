"""Mail: messages with leases, threads, broadcasts, kicks and long bodies."""
