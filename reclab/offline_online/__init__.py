"""Offline and online (离线架构与在线架构), §2.3."""
