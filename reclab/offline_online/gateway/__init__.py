"""The tracking gateway (埋点网关): what phones send, checked, in one form, each event once."""
