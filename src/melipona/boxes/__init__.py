"""Boxes: where one agent's engine works, without network and without secrets; the contract, its drivers and boxd."""
