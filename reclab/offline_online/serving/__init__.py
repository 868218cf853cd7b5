"""Serving (在线服务): an answer to every request, in time; versions, fallbacks, capacity."""
