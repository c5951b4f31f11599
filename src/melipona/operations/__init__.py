"""Operations: what is in flight, and which life of the daemon holds it."""
