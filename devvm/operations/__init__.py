"""One function per verb. Orchestrates ports, reports phases, returns results; names no tool."""
