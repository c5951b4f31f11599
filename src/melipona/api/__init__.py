"""The application that the operator sees: routes, login, guard, live streams, metrics. Nothing of it is in the gate."""
