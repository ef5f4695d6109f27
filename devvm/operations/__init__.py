"""One function per verb: calls ports, reports phases, returns results. Names no tool."""
